-- Arguments of a task have names, so they are an object. They are as large as a worker
-- takes in one message, and as deep as json of any language reads: Python's stops short
-- of 1000. Whoever is near neither is not looked at further: 500 levels have 4000 bytes.
create function _procrastinate_check_args(p_args jsonb)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_size constant bigint := pg_column_size(p_args || '{}');  -- not as it was compressed
    v_most bigint;
begin
    if p_args is not null and jsonb_typeof(p_args) <> 'object' then
        perform _procrastinate_raise('PQ003',
            format('The arguments of a job are a JSON object, not %s',
                jsonb_typeof(p_args)),
            null, 'Give named arguments, such as {"order_id": 42}.');
    end if;
    if v_size <= 4096 then
        return;
    end if;
    v_most := _procrastinate_max_args_size();
    if v_size > v_most then
        perform _procrastinate_raise('PQ003',
            format('The arguments of a job have %s bytes: at most %s are allowed', v_size,
                v_most),
            null,
            'Store the data and give its key, or set procrastinate.max_args_size for the '
            'database.');
    end if;
    if jsonb_path_exists(p_args, '$.**{501}') then
        perform _procrastinate_raise('PQ003',
            'The arguments of a job are nested deeper than 500 levels', null,
            'Give them in a flat form, or as a string of JSON.');
    end if;
end;
$$;

comment on function _procrastinate_check_args(jsonb) is
'Raises PQ003 for arguments that are no JSON object, too large or nested too deep.';
