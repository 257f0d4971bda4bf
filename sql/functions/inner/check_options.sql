-- Refuses options of jobs that cannot be meant, the first by name, before anything is
-- written: an unknown option, a value of another type, a number out of its bounds.
create function _procrastinate_check_options(p_options jsonb[], p_locks text[])
returns void
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_longest constant numeric := 1e10;  -- seconds: some 300 years
    v_wrong record;
begin
    select o.name, o.value, k.kind, k.least, k.most into v_wrong
    from unnest(p_options) as u (options)
    cross join lateral jsonb_each(
        case when jsonb_typeof(u.options) = 'object' then u.options
            else jsonb_build_object('options', u.options)
        end
    ) as o (name, value)
    left join (
        values
            ('timeout', 'number', 0.001, v_longest),
            ('heartbeat', 'number', 0.001, v_longest),
            ('ttl', 'number', -v_longest, v_longest),
            ('max_attempts', 'number', 1, 2147483647),
            ('retry_delay', 'number', 0, v_longest),
            ('retry_backoff', 'number', 0, 1e6),
            ('retry_delay_cap', 'number', 0, v_longest),
            ('retry_jitter', 'boolean', null, null),
            ('keep_result', 'boolean', null, null),
            ('key', 'string', 1, 500),
            ('group_key', 'string', 1, 500),
            ('meta', 'object', null, null)
    ) as k (name, kind, least, most) on k.name = o.name
    where
        u.options is not null
        and jsonb_typeof(u.options) <> 'null'
        and o.value <> 'null'
        and (
            k.name is null
            or jsonb_typeof(o.value) <> k.kind
            or case k.kind
                when 'number' then
                    (o.value #>> '{}')::numeric not between k.least and k.most
                    or (
                        k.name = 'max_attempts'
                        and (o.value #>> '{}')::numeric % 1 <> 0
                    )
                when 'string' then
                    length(o.value #>> '{}') not between k.least and k.most
                    -- part of a lock, and of the entry of an index that has 2704 bytes
                    or (k.name = 'group_key' and octet_length(o.value::text) > 1802)
            end
        )
    limit 1;
    if found and v_wrong.kind is null then
        perform _procrastinate_raise('PQ003',
            format('A job has no option "%s"', v_wrong.name), null,
            'Options are timeout, heartbeat, ttl, max_attempts, retry_delay, '
            'retry_backoff, retry_delay_cap, retry_jitter, key, group_key, keep_result, '
            'meta.');
    elsif found then
        perform _procrastinate_raise('PQ003',
            format('The option "%s" of a job cannot be %s', v_wrong.name,
                left(v_wrong.value::text, 60)),
            null,
            case v_wrong.kind
                when 'number' then
                    format('Give a number from %s to %s%s.', v_wrong.least, v_wrong.most,
                        case when v_wrong.name not in ('max_attempts', 'retry_backoff')
                            then ' (seconds)' else '' end)
                when 'string' then
                    format('Give %s to %s characters%s.', v_wrong.least, v_wrong.most,
                        case when v_wrong.name = 'group_key'
                            then ', 1800 bytes as JSON' else '' end)
                else format('Give a JSON %s.', v_wrong.kind)
            end);
    end if;
    if exists (
        select
        from unnest(p_options, p_locks) as u (options, lock)
        where u.lock is not null and u.options ->> 'group_key' is not null
    ) then
        perform _procrastinate_raise('PQ003', 'A job has a lock and a group', null,
            'Give one of them: a group is a lock that the database names.');
    end if;
end;
$$;

comment on function _procrastinate_check_options(jsonb[], text[]) is
'Raises PQ003 (invalid argument) for the first option of a job that cannot be meant.';
