-- The one way to raise an error of our own: sql/sqlstates.md lists the codes.
create function _procrastinate_raise(
    p_code text, p_message text, p_detail text default null, p_hint text default null
)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    raise exception using
        errcode = p_code,
        message = p_message,
        detail = coalesce(p_detail, ''),
        hint = coalesce(p_hint, '');
end;
$$;

comment on function _procrastinate_raise(text, text, text, text) is
'Raises an error with code, message, detail and hint.';
