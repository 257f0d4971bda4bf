\ir ../../setup.psql
select plan(7);

insert into procrastinate_jobs (id, queue_name, task_name, lock, priority) values
    (901, 'q', 't', null, 0), (902, 'q', 't', 'l', 0), (903, 'q', 't', null, 0),
    (904, 'q', 't', null, 0), (905, 'q', 't', null, 1), (906, 'p', 't', null, 0);
update procrastinate_todo set state = 'a' where job_id >= 903;
create function fixtures.line(
    p_fresh bigint, p_again bigint, p_take integer default 9, p_pass bigint[] default '{}'
)
returns text[] language sql volatile as $$
    select array_agg(concat(l.state, l.job_id, l.lock) order by l.job_id)
    from _procrastinate_line('q', 0, p_fresh, p_again, p_take, p_pass) as l
$$;
select is(line(0, 0), '{r901,r902l,a903,a904}', 'fresh ones and those ready again');
select is(line(902, 0), '{r902l,a903,a904}', 'from the mark of fresh ones on');
select is(line(903, 904), '{a904}', 'and from that of those ready again');
select is(line(0, 0, 1), '{r901,a903}', 'so many of each');
select is(line(0, 0, 9, '{901,904}'), '{r902l,a903}', 'but those');
update procrastinate_todo set state = 'b' where job_id = 901;
update procrastinate_todo set state = 'd' where job_id = 904;
select is(line(0, 0), '{r902l,a903}', 'not what is blocked or delayed');
select is(line(null::bigint, null), null, 'without marks none');

select * from finish();
rollback;
