\ir ../../setup.psql
select plan(10);

select is(outcome_of('select _procrastinate_check_jobs(' || c.arguments || ')'), c.code, c.why)
from (
    values
        ('''{q,r}'', ''{t,u}'', array[''{}'', null]::jsonb[]', 'ok', 'good jobs pass'),
        ('''{}'', ''{}'', ''{}''', 'ok', 'none as well'),
        ('null, null, null', 'ok', 'nor null'),
        ('''{q}'', ''{t,u}'', null', 'PQ003', 'a queue and a task for each'),
        ('''{q}'', ''{t}'', ''{}'', ''{2}''', 'PQ003', 'no array is longer'),
        ('''{q}'', ''{t}'', ''{}'', ''{0,1}''', 'ok', 'but may be shorter'),
        ('''{q,null}'', ''{t,u}'', null', 'PQ003', 'a queue is not null'),
        ('''{q,r}'', ''{t,null}'', null', 'PQ003', 'nor is a task'),
        ('array[''q'', repeat(''r'', 129)], ''{t,u}'', null', 'PQ003', 'names are not too long'),
        ('''{q}'', ''{t}'', array[''[]'']::jsonb[]', 'PQ003', 'arguments are objects')
) as c (arguments, code, why);

select * from finish();
rollback;
