\ir ../../setup.psql
select plan(16);

select is(outcome_of('select _procrastinate_check_report(' || c.arguments || ')'), c.code, c.why)
from (
    values
        ('1, 0, ''{1}'', ''{1}'', ''{failed}'', null', 'ok', 'a report of one job'),
        ('1, 0, ''{1}'', ''{1}'', ''{failed}'', ''{}''', 'ok', 'that deletes none'),
        ('1, 0, ''{1,2}'', ''{1,2}'', ''{failed,aborted}'', ''{true,null}''', 'ok', 'of two'),
        ('1, 0, null, null, null, null', 'ok', 'of none'),
        ('1, 10000, null, null, null, null', 'ok', 'with a wish for 10000 jobs'),
        ('1, 10001, null, null, null, null', 'PQ003', 'and no more'),
        ('1, -1, null, null, null, null', 'PQ003', 'and no less than none'),
        ('1, null, null, null, null, null', 'PQ003', 'and a number'),
        ('null, 0, null, null, null, null', 'PQ003', 'has a worker'),
        ('1, 0, ''{1}'', ''{}'', ''{failed}'', null', 'PQ003', 'a claim for each'),
        ('1, 0, ''{1}'', ''{1}'', ''{}'', null', 'PQ003', 'a status for each'),
        ('1, 0, ''{1}'', ''{1}'', ''{failed}'', ''{true,true}''', 'PQ003', 'a fate for each'),
        ('1, 0, ''{null}'', ''{1}'', ''{failed}'', null', 'PQ003', 'ids that are not null'),
        ('1, 0, ''{1}'', ''{null}'', ''{failed}'', null', 'PQ003', 'claims that are not null'),
        ('1, 0, ''{1}'', ''{1}'', ''{null}'', null', 'PQ003', 'statuses that are not null'),
        ('1, 0, ''{1}'', ''{1}'', ''{cancelled}'', null', 'PQ003', 'and that are ends')
) as c (arguments, code, why);

select * from finish();
rollback;
