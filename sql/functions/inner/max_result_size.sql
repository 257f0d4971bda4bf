-- How large a result may be, in bytes as jsonb: the setting procrastinate.max_result_size,
-- else a megabyte.
create function _procrastinate_max_result_size()
returns integer
language sql stable parallel safe
return coalesce(
    nullif(current_setting('procrastinate.max_result_size', true), '')::integer, 1048576
);

comment on function _procrastinate_max_result_size() is
'Most bytes that a result may have as jsonb.';
