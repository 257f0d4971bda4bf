\ir ../../setup.psql
select plan(4);

prepare it as select _procrastinate_raise('PQ003', 'a message', 'a detail', 'a hint');
select throws_ok('it', 'PQ003', 'a message', 'an error of ours has a code and a message');
select is(error_of('execute it', 'detail'), 'a detail', 'a detail');
select is(error_of('execute it', 'hint'), 'a hint', 'and a hint');
select throws_ok(
    $$select _procrastinate_raise('PQ002', 'a message', null, 'a hint')$$, 'PQ002', 'a message',
    'there may be no detail'
);

select * from finish();
rollback;
