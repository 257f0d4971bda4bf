-- The channels on which a worker of these queues is told of jobs.
create function procrastinate_channels_v1(p_queues text[])
returns setof text
language plpgsql immutable parallel safe
set search_path from current
as $$
begin
    if p_queues is null then
        return next 'procrastinate_any_queue_v1';
        return;
    end if;
    return query
    select distinct _procrastinate_channel(q.queue_name) as channel
    from unnest(p_queues) as q (queue_name)
    where q.queue_name is not null
    order by channel;
end;
$$;

comment on function procrastinate_channels_v1(text[]) is
'Channels to LISTEN on for these queues; null: the one for all queues.';
