-- Each migration that was applied, or that a fresh install stands for.
create table procrastinate_migrations (
    name text primary key,
    sha256 text not null,
    applied_at timestamptz not null default now(),
    applied_by text not null default current_user
);

comment on table procrastinate_migrations is
'Migrations that made this schema, with the hash of each file.';
