\ir ../../setup.psql
select plan(3);

select job as holder from a_job('doing', p_lock => 'held') \gset
select job as held from a_job(p_lock => 'held') \gset
select job as head from a_job(p_lock => 'free') \gset
select job as next from a_job(p_lock => 'free') \gset
select job as high from a_job(p_lock => 'high') \gset
select job as higher from a_job(p_lock => 'high', p_priority => 1) \gset
update procrastinate_todo set state = 'b';
select _procrastinate_promote(null, '{held,free,high,none}') \g /dev/null
select is(
    array[derived(:held), derived(:head), derived(:next), derived(:high), derived(:higher)],
    '{todo:blocked,todo:ready,todo:blocked,todo:blocked,todo:ready}',
    'the head of each lock that nobody holds becomes ready, and no other'
);
select lives_ok(
    $$select _procrastinate_promote('{}', '{}')$$, 'no lock, no head'
);
select is_sound();

select * from finish();
rollback;
