\ir ../../setup.psql
select plan(4);

create function fixtures.left_of(p_ids bigint[], p_others bigint[])
returns bigint[] language sql immutable as $$
    select array(
        select i.id from unnest(_procrastinate_without(p_ids, p_others)) as i (id) order by i.id
    )
$$;
select is(left_of('{4,2,3}', '{3,9}'), '{2,4}', 'these but for others');
select is(left_of('{4,4}', '{}'), '{4}', 'each once');
select is(left_of('{4}', null), '{4}', 'null is nobody else');
select is(_procrastinate_without(null, '{4}'), '{}', 'of none none');

select * from finish();
rollback;
