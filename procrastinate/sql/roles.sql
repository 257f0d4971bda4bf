-- Optional: roles for those who only defer, only work, are on call or only look.
--     psql -v ON_ERROR_STOP=1 -f roles.sql
--     psql -v ON_ERROR_STOP=1 -v producer=shop_writer -v worker=shop_worker -f roles.sql
-- Run it as the owner of the schema, the first of the search_path, and again after each
-- upgrade. The roles have no login: GRANT procrastinate_producer TO shop;
\if :{?producer}
\else
\set producer procrastinate_producer
\endif
\if :{?worker}
\else
\set worker procrastinate_worker
\endif
\if :{?operator}
\else
\set operator procrastinate_operator
\endif
\if :{?auditor}
\else
\set auditor procrastinate_auditor
\endif
select role, part, created
from procrastinate_create_roles(:'producer', :'worker', :'operator', :'auditor');
