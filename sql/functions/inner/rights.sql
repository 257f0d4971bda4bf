-- What each of the four roles may call (docs/decisions/0115-roles.md). A function that is
-- not here is nobody's but the owner's, so that a new one is granted by intent.
create function _procrastinate_rights()
returns table (role text, function_name text)
language plpgsql immutable parallel safe
set search_path from current
as $$
declare
    v_defers constant text[] := array[
        'procrastinate_defer_job', 'procrastinate_defer_jobs',
        'procrastinate_defer_jobs_v1', 'procrastinate_defer_jobs_v2',
        'procrastinate_defer_jobs_v3', 'procrastinate_find_keys_v1',
        'procrastinate_try_defer_jobs_v1', 'procrastinate_try_defer_jobs_v2'
    ];
    v_clock constant text[] := array[
        'procrastinate_now', '_procrastinate_travelled_now'
    ];
begin
    return query
    select x.role, f.function_name
    from (
        values
            ('producer', v_defers || v_clock),
            ('worker', v_defers || v_clock || array[
                'procrastinate_announce_ends_v1', 'procrastinate_channels_v1',
                'procrastinate_defer_periodic_job_v2',
                'procrastinate_defer_periodic_job_v3',
                'procrastinate_defer_periodic_job_v4', 'procrastinate_expire_jobs_v1',
                'procrastinate_fail_jobs_v1', 'procrastinate_fetch_job_v2',
                'procrastinate_fetch_jobs_v1', 'procrastinate_finish_and_fetch_v1',
                'procrastinate_finish_and_fetch_v2', 'procrastinate_finish_job_v1',
                'procrastinate_finish_jobs_v1', 'procrastinate_get_result',
                'procrastinate_get_results_v1', 'procrastinate_heartbeat_v1',
                'procrastinate_heartbeat_v2', 'procrastinate_list_jobs_to_abort_v1',
                'procrastinate_list_jobs_to_abort_v2', 'procrastinate_list_writers_v1',
                'procrastinate_prune_stalled_workers_v1',
                'procrastinate_prune_workers_v1', 'procrastinate_recover_jobs_v1',
                'procrastinate_register_worker_v1', 'procrastinate_register_worker_v2',
                'procrastinate_release_jobs_v1', 'procrastinate_retire_jobs_v1',
                'procrastinate_retry_job_v1', 'procrastinate_retry_job_v2',
                'procrastinate_retry_jobs_v1', 'procrastinate_retry_jobs_v2',
                'procrastinate_set_quiet_v1', 'procrastinate_sweep_v1',
                'procrastinate_unregister_worker_v1',
                'procrastinate_unregister_worker_v2', 'procrastinate_update_heartbeat_v1',
                'procrastinate_update_jobs_v1', 'procrastinate_version',
                'procrastinate_watch_job'
            ]),
            ('operator', v_clock || array[
                'procrastinate_abort_job', 'procrastinate_announce_ends_v1',
                'procrastinate_cancel_job', 'procrastinate_cancel_job_v1',
                'procrastinate_cancel_jobs',
                'procrastinate_channels_v1', 'procrastinate_check',
                'procrastinate_explain_job', 'procrastinate_get_result',
                'procrastinate_get_results_v1', 'procrastinate_pause_queue',
                'procrastinate_prune_stalled_workers', 'procrastinate_purge_jobs',
                'procrastinate_recover_stalled_jobs', 'procrastinate_repair',
                'procrastinate_reschedule_job', 'procrastinate_resume_queue',
                'procrastinate_retry_job', 'procrastinate_retry_job_v2',
                'procrastinate_retry_jobs', 'procrastinate_version',
                'procrastinate_watch_job'
            ]),
            ('auditor', v_clock || array[
                'procrastinate_check', 'procrastinate_explain_job',
                'procrastinate_version'
            ])
    ) as x (role, functions)
    cross join lateral unnest(x.functions) as f (function_name);
end;
$$;

comment on function _procrastinate_rights() is
'Which functions a producer, a worker, an operator and an auditor may call.';
