-- Where the sweep of finished jobs has come to. A sequence, because many sweep and none of
-- them may wait for, or be undone with, another's transaction.
create sequence procrastinate_sweep_seq as bigint minvalue 0 start 0;

comment on sequence procrastinate_sweep_seq is
'Id of the last job that the sweep has looked at for the number of a worker that is gone.';
