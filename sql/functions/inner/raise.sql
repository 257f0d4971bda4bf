-- The one way to raise an error of our own: sql/sqlstates.md lists the codes.
create function _procrastinate_raise(
    p_code text, p_message text, p_detail text, p_hint text
)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if p_detail is null then  -- an option cannot be null, and an empty one prints a label
        raise exception using errcode = p_code, message = p_message, hint = p_hint;
    end if;
    raise exception using
        errcode = p_code, message = p_message, detail = p_detail, hint = p_hint;
end;
$$;

comment on function _procrastinate_raise(text, text, text, text) is
'Raises an error with code, message, detail and hint.';
