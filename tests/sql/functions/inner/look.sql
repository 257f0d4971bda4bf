\ir ../../setup.psql
select plan(5);

select a_job(p_scheduled_at => procrastinate_now() + interval '1 min') \g /dev/null
select results_eq(
    $$select o_due, o_arrived from _procrastinate_look('{q}', '0')$$, 'values (false, false)',
    'nothing is due, nothing became ready again'
);
select travel('1 min') \g /dev/null
select results_eq(
    $$select o_due, o_arrived from _procrastinate_look('{q}', '0')$$, 'values (true, false)',
    'a delayed job is due'
);
select results_eq(
    $$select o_due from _procrastinate_look('{other}', '0')$$, 'values (false)', 'in these queues'
);
select _procrastinate_wake_due('{q}') \g /dev/null
select results_eq(
    $$select o_due, o_arrived from _procrastinate_look('{q}', '0')$$, 'values (false, true)',
    'woken, it has become ready again'
);
select results_eq(
    $$select o_arrived from _procrastinate_look('{q}', '9223372036854775807')$$, 'values (false)',
    'but not since then'
);

select * from finish();
rollback;
