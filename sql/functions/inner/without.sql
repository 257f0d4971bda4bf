-- These ids but for others: in linear time, where a filter by an array is quadratic.
create function _procrastinate_without(p_ids bigint[], p_others bigint[])
returns bigint[]
language plpgsql immutable parallel safe
set search_path from current
as $$
begin
    return array(
        select i.id from unnest(p_ids) as i (id)
        except
        select o.id from unnest(p_others) as o (id)
    );
end;
$$;

comment on function _procrastinate_without(bigint[], bigint[]) is
'These ids but for others; each once.';
