\ir ../../setup.psql
select plan(3);

select job as head from a_job(p_lock => 'lost') \gset
select a_job(p_lock => 'lost') \g /dev/null
select a_job('doing', p_lock => 'held') \g /dev/null
select a_job(p_lock => 'held') \g /dev/null
select is_empty($$select * from _procrastinate_lost_heads('{lost,held}')$$, 'there should be none');
update procrastinate_todo set state = 'b';
select results_eq(
    $$select * from _procrastinate_lost_heads('{lost,held,none}')$$,
    format('values (''lost'', %s::bigint)', :head),
    'a head that is blocked though nobody holds its lock is one'
);
select is_empty($$select * from _procrastinate_lost_heads('{held}')$$, 'of these locks');

select * from finish();
rollback;
