-- Used inside queries, so without settings of its own: its body is bound when it is
-- created.
create function procrastinate_now()
returns timestamptz
language sql stable parallel safe
return case
    when coalesce(current_setting('procrastinate.now', true), '') = '' then now()
    else _procrastinate_travelled_now()
end;

comment on function procrastinate_now() is
'The time of the queue: now(), or the setting procrastinate.now in tests by the owner.';
