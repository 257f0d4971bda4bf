-- A table of a service in any language. Its trigger defers a job for each row.
create table orders (
    id bigint generated always as identity primary key,
    customer text not null,
    amount numeric not null
);

create function confirm_later() returns trigger language plpgsql as $$
begin
    perform procrastinate_defer_job(
        queue_name => 'orders',
        task_name => 'confirm_order',
        lock => new.customer,
        args => jsonb_build_object('order_id', new.id, 'amount', new.amount)
    );
    return null;
end;
$$;

create trigger confirm_later
after insert on orders
for each row execute function confirm_later();

-- One statement, one transaction: had it failed, there would be neither orders nor jobs.
insert into orders (customer, amount)
select format('customer-%s', n % 500), 10 + n % 90
from generate_series(1, :orders) as n;
