-- Arguments of a task have names, so they are an object.
create function _procrastinate_check_args(p_args jsonb)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if p_args is not null and jsonb_typeof(p_args) <> 'object' then
        perform _procrastinate_raise('PQ003',
            format('The arguments of a job are a JSON object, not %s',
                jsonb_typeof(p_args)),
            null, 'Give named arguments, such as {"order_id": 42}.');
    end if;
end;
$$;

comment on function _procrastinate_check_args(jsonb) is
'Raises PQ003 (invalid argument) for arguments that are not a JSON object.';
