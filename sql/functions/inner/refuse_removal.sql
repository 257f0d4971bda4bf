-- A migration is about to remove these functions, named without "procrastinate_". From here
-- to its end nobody registers or beats: who waits in register_worker_v2 looks afterwards
-- whether all that it calls is there. An old snapshot would lack who has just registered.
--
-- A worker that is taken for dead may be asleep only. Its row goes, so that it has to
-- register when it wakes, and is refused then instead of failing at its next job.
create function _procrastinate_refuse_removal(p_functions text[])
returns void
language plpgsql volatile parallel unsafe
set search_path from current
set lock_timeout = '5s'
as $$
declare
    v_found record;
begin
    perform _procrastinate_refuse_old_snapshot('A removal');
    lock table procrastinate_workers in share row exclusive mode;
    select
        count(*) filter (where n.alive) as living,
        string_agg(n.sentence, '; ' order by n.worker_id)
            filter (where n.alive) as sentences,
        array_agg(n.worker_id) filter (where not n.alive) as dead
    into v_found
    from _procrastinate_needing(p_functions) as n;
    if v_found.living > 0 then
        perform _procrastinate_raise('PQ008',
            format('What this migration removes is needed by %s live workers: %s',
                v_found.living, v_found.sentences),
            null,
            'Stop them, or start them in a version without it; then migrate again.');
    end if;
    perform _procrastinate_remove_workers(v_found.dead, null);
end;
$$;

comment on function _procrastinate_refuse_removal(text[]) is
'Raises PQ008, naming them, while live workers call these; removes dead workers that did.';
