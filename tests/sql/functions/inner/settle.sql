\ir ../../setup.psql
select plan(13);

select pg_current_xact_id()::text::bigint as me \gset
select nextval('procrastinate_jobs_id_seq') as given \gset
select -9223372036854775808 as start \gset
create function fixtures.head(p_marks bigint[], p_snapshot pg_snapshot, p_whole boolean default false)
returns bigint[] language sql volatile as $$
    -- the first three are the fetch's own: here a time to come, and one that has passed
    select s.o_head
    from _procrastinate_settle(
        array[1, 9e15, 0]::bigint[] || p_marks, p_snapshot, p_whole
    ) as s
$$;
select is(
    (select s.o_head from _procrastinate_settle(null, '100:100:', true) as s),
    array[:start, :given, -:me, 0, 0]::bigint[],
    'without marks nothing is settled, and the last id is the one to watch'
);
select is(
    head(array[7, 20, -:me, 0, 0], '100:100:'), array[7, 20, -:me, 0, 0]::bigint[],
    'in the same transaction its bound is not known'
);
select is(
    head(array[7, 20, 1 - :me, 0, 0], '100:100:'), array[7, 20, :me, 0, 0]::bigint[],
    'that of a later one is the bound'
);
select is(
    head('{7,20,100,0,0}', '100:100:'), array[20, :given, -:me, 0, 0]::bigint[],
    'with none below it under way the floor is raised, and the last id is watched'
);
select is(
    head('{7,20,100,0,0}', '99:120:99'), '{7,20,100,0,0}', 'not while one is'
);
select is(
    head('{7,20,100,0,0}', '100:120:100'), array[20, :given, -:me, 0, 0]::bigint[],
    'one that began at the bound or later is not'
);
select is(
    head('{7,20,100,0,0}', '99:99:'), '{7,20,100,0,0}',
    'nor where the snapshot does not list all that are below it'
);
select is(
    head('{7,20,100,90,1}', '80:120:80,110'), array[20, :given, -:me, 90, 1]::bigint[],
    'the old ones do not count'
);
select is(
    head('{7,20,100,90,1}', '80:120:80,90', true),
    array[20, :given, -:me, 100, 2]::bigint[],
    'who is in the way of a scan from the start is one of them from then on'
);
select is(
    head('{7,20,0,90,2}', '80:120:80,110', true), array[7, 20, :me, 90, 1]::bigint[],
    'and those of them that have ended are forgotten'
);
select is(
    (select s.o_look_in > 1e8
     from _procrastinate_settle('{1,9000000000000000,0,7,20,100,90,1}', '80:120:80', false) as s),
    true, 'a scan from the start is due at its time'
);
select is(
    (select s.o_look_in < 0
     from _procrastinate_settle('{1,9000000000000000,0,7,20,100,90,1}', '100:120:110', false) as s),
    true, 'or, when an old one has ended, as soon as it is allowed'
);
select is(
    (select s.o_look_in from _procrastinate_settle('{1,2,3,7,20,100,90,1}', '9:9:', true) as s),
    null, 'after one there is nothing to come back for'
);

select * from finish();
rollback;
