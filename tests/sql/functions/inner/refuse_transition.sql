\ir ../../setup.psql
select plan(3);

prepare it as select _procrastinate_refuse_transition(42, 'succeeded', 'doing');
select throws_ok(
    'it', 'PQ001', 'Job 42 is succeeded: it cannot become doing',
    'a refusal names the job, its status and the one that was asked for'
);
select isnt(error_of('execute it', 'detail'), '', 'says what is allowed');
select isnt(error_of('execute it', 'hint'), '', 'and what to do');

select * from finish();
rollback;
