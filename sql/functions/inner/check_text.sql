-- Refuses what a column cannot hold, with the name of the argument, before anything is
-- written.
create function _procrastinate_check_text(
    p_value text, p_what text, p_length integer, p_required boolean
)
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    if p_value is null then
        if p_required then
            perform _procrastinate_raise('PQ003', format('The %s is null', p_what), null,
                format('Give the %s.', p_what));
        end if;
    elsif p_value = '' and p_required then
        perform _procrastinate_raise('PQ003', format('The %s is empty', p_what), null,
            format('Give the %s.', p_what));
    elsif length(p_value) > p_length then
        perform _procrastinate_raise('PQ003',
            format('The %s has %s characters: at most %s are allowed', p_what,
                length(p_value), p_length),
            format('It begins with "%s".', left(p_value, 40)),
            format('Use a shorter %s.', p_what));
    end if;
end;
$$;

comment on function _procrastinate_check_text(text, text, integer, boolean) is
'Raises PQ003 (invalid argument) for a text that is null, empty or too long.';
