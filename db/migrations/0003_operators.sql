-- What operators set: pausing, and how long completed records are kept.

alter table conveyor.flow
    add column paused_at timestamptz,
    add column retention interval,
    add constraint flow_retention_valid check (retention >= '0');

comment on column conveyor.flow.paused_at is 'Since when nothing of the flow is claimed; null: it runs.';
comment on column conveyor.flow.retention is 'Records completed longer ago are purged by maintain(); null: kept.';
