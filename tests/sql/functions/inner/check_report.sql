\ir ../../setup.psql
select plan(12);

select is(outcome_of('select _procrastinate_check_report(' || c.arguments || ')'), c.code, c.why)
from (
    values
        ('1, ''{1}'', ''{1}'', ''{failed}'', null', 'ok', 'a report of one job'),
        ('1, ''{1}'', ''{1}'', ''{failed}'', ''{}''', 'ok', 'that deletes none'),
        ('1, ''{1,2}'', ''{1,2}'', ''{failed,aborted}'', ''{true,null}''', 'ok', 'of two'),
        ('1, null, null, null, null', 'ok', 'of none'),
        ('null, null, null, null, null', 'PQ003', 'has a worker'),
        ('1, ''{1}'', ''{}'', ''{failed}'', null', 'PQ003', 'a claim for each'),
        ('1, ''{1}'', ''{1}'', ''{}'', null', 'PQ003', 'a status for each'),
        ('1, ''{1}'', ''{1}'', ''{failed}'', ''{true,true}''', 'PQ003', 'a fate for each'),
        ('1, ''{null}'', ''{1}'', ''{failed}'', null', 'PQ003', 'ids that are not null'),
        ('1, ''{1}'', ''{null}'', ''{failed}'', null', 'PQ003', 'claims that are not null'),
        ('1, ''{1}'', ''{1}'', ''{null}'', null', 'PQ003', 'statuses that are not null'),
        ('1, ''{1}'', ''{1}'', ''{cancelled}'', null', 'PQ003', 'and that are ends')
) as c (arguments, code, why);

select * from finish();
rollback;
