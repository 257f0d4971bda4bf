\ir ../../setup.psql
select plan(5);

select is(_procrastinate_line_lock('l', null, null, now()), 'l', 'a job stands in the line of its lock');
select is(
    _procrastinate_line_lock('l', null, now() + interval '1 h', now()), 'l', 'also before its time'
);
select is(_procrastinate_line_lock('l', 'g', null, now()), 'l', 'so does one of a group');
select is(
    _procrastinate_line_lock('l', 'g', now() + interval '1 h', now()), null,
    'which lets others go first before its time'
);
select is(_procrastinate_line_lock('l', 'g', now(), now()), 'l', 'and no longer');

select * from finish();
rollback;
