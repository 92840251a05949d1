"""The first tables: ledger, inbox, outbox, and what periodic work and releases keep of themselves."""

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE accounts (
    account_id uuid NOT NULL, program_id varchar NOT NULL, customer_id varchar NOT NULL,
    account_shard smallint NOT NULL, sequence bigint DEFAULT 0 NOT NULL,
    lots_opened integer DEFAULT 0 NOT NULL, balance bigint DEFAULT 0 NOT NULL,
    pending bigint DEFAULT 0 NOT NULL, reserved bigint DEFAULT 0 NOT NULL,
    deficit bigint DEFAULT 0 NOT NULL, lifetime_points bigint DEFAULT 0 NOT NULL,
    qualifying_points bigint DEFAULT 0 NOT NULL, qualifying_from timestamptz, tier_id varchar NOT NULL,
    tier_since timestamptz, tier_until timestamptz, tier_changes integer DEFAULT 0 NOT NULL,
    counted_until timestamptz, orders_posted integer DEFAULT 0 NOT NULL,
    orders_counted integer DEFAULT 0 NOT NULL, enrolled_at timestamptz, tier_held_until timestamptz,
    tier_warned_until timestamptz, status varchar DEFAULT 'active' NOT NULL,
    own_account_id varchar, is_enrolment_given boolean DEFAULT false NOT NULL, merged_into uuid,
    lifetime_points_given bigint DEFAULT 0 NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL, updated_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_accounts PRIMARY KEY (account_id),
    CONSTRAINT ck_accounts_deficit CHECK (deficit >= 0),
    CONSTRAINT ck_accounts_pending CHECK (pending >= 0),
    CONSTRAINT ck_accounts_reserved CHECK (reserved >= 0),
    CONSTRAINT ck_accounts_balance_covers_lots CHECK (balance >= -deficit),
    CONSTRAINT ck_accounts_qualifying_points CHECK (qualifying_points >= 0),
    CONSTRAINT ck_accounts_lifetime_points_given CHECK (lifetime_points_given >= 0),
    CONSTRAINT ck_accounts_orders_counted CHECK (orders_counted >= 0),
    CONSTRAINT ck_accounts_status CHECK (status IN ('active', 'frozen', 'closed')),
    CONSTRAINT ck_accounts_enrolment_given CHECK (enrolled_at IS NOT NULL OR NOT is_enrolment_given),
    CONSTRAINT ck_accounts_merged_into_another CHECK (merged_into <> account_id),
    CONSTRAINT fk_accounts_merged_into FOREIGN KEY(merged_into) REFERENCES accounts (account_id),
    CONSTRAINT ck_accounts_instants CHECK (qualifying_from BETWEEN '1000-01-01 00:00Z' AND '9000-01-01
        00:00Z' AND tier_since BETWEEN '1000-01-01 00:00Z' AND '9000-01-01 00:00Z' AND tier_until
        BETWEEN '1000-01-01 00:00Z' AND '9000-01-01 00:00Z' AND counted_until BETWEEN '1000-01-01
        00:00Z' AND '9000-01-01 00:00Z' AND enrolled_at BETWEEN '1000-01-01 00:00Z' AND '9000-01-01
        00:00Z' AND tier_held_until BETWEEN '1000-01-01 00:00Z' AND '9000-01-01 00:00Z'
        AND tier_warned_until BETWEEN '1000-01-01 00:00Z' AND '9000-01-01 00:00Z')
);
CREATE INDEX ix_accounts_merged_into ON accounts (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX ix_accounts_tier_review ON accounts (account_shard, tier_until) WHERE tier_until IS NOT NULL;
CREATE INDEX ix_accounts_customer_id ON accounts (customer_id);
CREATE TABLE budgets (
    program_id varchar NOT NULL, name varchar NOT NULL, points bigint DEFAULT 0 NOT NULL,
    orders bigint DEFAULT 0 NOT NULL,
    CONSTRAINT pk_budgets PRIMARY KEY (program_id, name)
);
CREATE TABLE source_days (
    source varchar NOT NULL, type varchar NOT NULL, day date NOT NULL, points bigint DEFAULT 0 NOT NULL,
    CONSTRAINT pk_source_days PRIMARY KEY (source, type, day)
);
CREATE TABLE inbox (
    inbox_id bigint NOT NULL, source varchar DEFAULT '' NOT NULL, event_id varchar DEFAULT '' NOT NULL,
    variant bytea DEFAULT '' NOT NULL, type varchar, occurred_at timestamptz, shard smallint,
    subject varchar, is_subject boolean DEFAULT false NOT NULL, content_hash bytea, body bytea NOT NULL,
    settled varchar, state varchar NOT NULL, reason varchar, detail varchar,
    deliveries integer DEFAULT 1 NOT NULL, times_parked integer DEFAULT 0 NOT NULL,
    received_at timestamptz DEFAULT now() NOT NULL, settled_at timestamptz, awaits varchar, signature varchar,
    subject_source varchar, others_posted smallint DEFAULT 0 NOT NULL, reply_to varchar, correlation_id varchar,
    points_per_command_max bigint, points_per_day_max bigint, traceparent varchar, tracestate varchar,
    CONSTRAINT pk_inbox PRIMARY KEY (inbox_id),
    CONSTRAINT uq_inbox_source_event_id_variant UNIQUE (source, event_id, variant),
    CONSTRAINT ck_inbox_state CHECK (state IN ('received', 'waiting', 'posted', 'replayed', 'rejected', 'dead',
        'dropped')),
    CONSTRAINT ck_inbox_dead_has_reason CHECK ((state IN ('rejected', 'dead', 'dropped')) = (reason IS NOT NULL)),
    CONSTRAINT ck_inbox_outcome_has_time CHECK ((state IN ('received', 'waiting')) = (settled_at IS NULL)),
    CONSTRAINT ck_inbox_open_is_settled CHECK (state = 'dead' OR (state IN ('received', 'waiting')) = (settled
        IS NOT NULL)),
    CONSTRAINT ck_inbox_received_has_shard CHECK (state <> 'received' OR shard IS NOT NULL),
    CONSTRAINT ck_inbox_instants CHECK (occurred_at BETWEEN '1000-01-01 00:00Z' AND '9000-01-01 00:00Z')
) WITH (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, vacuum_index_cleanup = on,
    autovacuum_analyze_scale_factor = 0.005, autovacuum_analyze_threshold = 2000, toast_tuple_target = 4080
);
CREATE INDEX ix_inbox_dead ON inbox (inbox_id) WHERE state = 'dead';
CREATE INDEX ix_inbox_open_subjects ON inbox (subject, coalesce(subject_source, source)) WHERE state IN
    ('received', 'waiting', 'dead') AND subject IS NOT NULL;
CREATE INDEX ix_inbox_received ON inbox (shard, inbox_id) WHERE state = 'received';
CREATE INDEX ix_inbox_waiting ON inbox (inbox_id) WHERE state = 'waiting';
CREATE TABLE numbers (
    name varchar NOT NULL, next_number bigint DEFAULT 1 NOT NULL, erasures bigint DEFAULT 0 NOT NULL,
    CONSTRAINT pk_numbers PRIMARY KEY (name)
);
CREATE TABLE outbox (
    outbox_id bigint NOT NULL, account_shard smallint NOT NULL, account_id uuid, event_key varchar NOT NULL,
    type varchar NOT NULL, body varchar NOT NULL, created_at timestamptz DEFAULT now() NOT NULL,
    reply_to varchar, correlation_id varchar, traceparent varchar, tracestate varchar,
    CONSTRAINT pk_outbox PRIMARY KEY (outbox_id),
    CONSTRAINT uq_outbox_account_id_event_key UNIQUE NULLS NOT DISTINCT (account_id, event_key),
    CONSTRAINT ck_outbox_reply CHECK (octet_length(reply_to) <= 255 AND octet_length(correlation_id) <= 255)
) WITH (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, vacuum_index_cleanup = on,
    autovacuum_analyze_scale_factor = 0.005, autovacuum_analyze_threshold = 2000
);
CREATE INDEX ix_outbox_created_at ON outbox USING brin (created_at);
CREATE INDEX ix_outbox_account_shard_outbox_id ON outbox (account_shard, outbox_id);
CREATE TABLE periodic_runs (
    task varchar NOT NULL, as_of timestamptz NOT NULL, finished_at timestamptz DEFAULT now() NOT NULL,
    result jsonb NOT NULL,
    CONSTRAINT pk_periodic_runs PRIMARY KEY (task),
    CONSTRAINT ck_periodic_runs_as_of CHECK (extract(year FROM as_of AT TIME ZONE 'UTC') BETWEEN 1900 AND
        2200)
);
CREATE TABLE posting_attempts (
    shard SMALLSERIAL NOT NULL, attempts integer DEFAULT 0 NOT NULL,
    started_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_posting_attempts PRIMARY KEY (shard)
);
CREATE TABLE relay_positions (
    account_shard smallint NOT NULL, published_through bigint NOT NULL,
    CONSTRAINT pk_relay_positions PRIMARY KEY (account_shard)
);
CREATE TABLE programs (
    program_id varchar NOT NULL, version integer NOT NULL, effective_from timestamptz NOT NULL,
    document jsonb NOT NULL, file_text varchar NOT NULL, applied_at timestamptz DEFAULT now() NOT NULL,
    applied_by varchar,
    CONSTRAINT pk_programs PRIMARY KEY (program_id, version),
    CONSTRAINT ck_programs_version CHECK (version > 0)
);
CREATE TABLE program_changes (
    program_id varchar NOT NULL, version integer NOT NULL, change_number integer NOT NULL, effective_from timestamptz,
    changed_at timestamptz DEFAULT now() NOT NULL, changed_by varchar NOT NULL, reason varchar NOT NULL,
    CONSTRAINT pk_program_changes PRIMARY KEY (program_id, version, change_number),
    CONSTRAINT fk_program_changes_program_id_version FOREIGN KEY(program_id, version)
        REFERENCES programs (program_id, version),
    CONSTRAINT ck_program_changes_change_number CHECK (change_number > 0),
    CONSTRAINT ck_program_changes_effective_from CHECK (effective_from >= changed_at)
);
CREATE TABLE retention (
    table_name varchar NOT NULL, purged_before timestamptz NOT NULL, seal bytea,
    CONSTRAINT pk_retention PRIMARY KEY (table_name),
    CONSTRAINT ck_retention_instants CHECK (purged_before BETWEEN '1000-01-01 00:00Z' AND '9000-01-01
        00:00Z')
);
CREATE TABLE schema_support (
    is_only_row boolean DEFAULT true NOT NULL, oldest_revision varchar NOT NULL,
    CONSTRAINT pk_schema_support PRIMARY KEY (is_only_row),
    CONSTRAINT ck_schema_support_is_only_row CHECK (is_only_row)
);
CREATE TABLE turns (
    task varchar NOT NULL, shard smallint NOT NULL,
    CONSTRAINT pk_turns PRIMARY KEY (task, shard)
);
CREATE TABLE account_details (
    account_id uuid NOT NULL, business_hash bytea, metadata json NOT NULL, tags json NOT NULL,
    CONSTRAINT pk_account_details PRIMARY KEY (account_id),
    CONSTRAINT fk_account_details_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id)
);
CREATE TABLE account_references (
    kind varchar NOT NULL, reference varchar NOT NULL, program_id varchar NOT NULL,
    account_id uuid NOT NULL, shard smallint NOT NULL,
    CONSTRAINT pk_account_references PRIMARY KEY (kind, reference, program_id),
    CONSTRAINT fk_account_references_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id)
);
CREATE INDEX ix_account_references_account_id ON account_references (account_id);
CREATE TABLE dead_letter_actions (
    action_id bigint GENERATED BY DEFAULT AS IDENTITY, inbox_id bigint NOT NULL, action varchar NOT NULL,
    reason varchar, detail varchar, acted_by varchar, acted_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_dead_letter_actions PRIMARY KEY (action_id),
    CONSTRAINT fk_dead_letter_actions_inbox_id FOREIGN KEY(inbox_id) REFERENCES inbox (inbox_id),
    CONSTRAINT ck_dead_letter_actions_action CHECK (action IN ('parked', 'retried', 'dropped', 'replaced')),
    CONSTRAINT ck_dead_letter_actions_acted_by CHECK (CASE action WHEN 'parked' THEN acted_by IS NULL
        ELSE action = 'retried' OR acted_by IS NOT NULL END)
);
CREATE INDEX ix_dead_letter_actions_inbox_id ON dead_letter_actions (inbox_id);
CREATE TABLE entries (
    account_id uuid NOT NULL, sequence bigint NOT NULL, kind varchar NOT NULL, points bigint NOT NULL,
    pending_change bigint NOT NULL, reserved_change bigint NOT NULL, deficit_change bigint NOT NULL,
    balance_after bigint NOT NULL, pending_after bigint NOT NULL, reserved_after bigint NOT NULL,
    lifetime_points_after bigint NOT NULL, occurred_at timestamptz NOT NULL,
    recorded_at timestamptz DEFAULT now() NOT NULL, source varchar, order_id varchar, refund_id varchar,
    corrects_sequence bigint, why json NOT NULL, return_id varchar, command_id varchar, chain_hash bytea,
    CONSTRAINT pk_entries PRIMARY KEY (account_id, sequence),
    CONSTRAINT fk_entries_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id),
    CONSTRAINT ck_entries_sequence CHECK (sequence > 0),
    CONSTRAINT ck_entries_points CHECK (points <> 0 OR pending_change <> 0 OR reserved_change <> 0 OR
        kind IN ('release', 'merge')),
    CONSTRAINT ck_entries_kind CHECK (kind IN ('accrual', 'clawback', 'expiry', 'release', 'credit', 'debit',
        'adjustment', 'transfer', 'reversal', 'authorization', 'capture', 'void', 'redemption',
        'conversion', 'merge', 'repayment')),
    CONSTRAINT ck_entries_sign CHECK (CASE WHEN kind IN ('accrual', 'credit') THEN points >= 0 AND pending_change
        >= 0 WHEN kind IN ('reversal', 'transfer', 'merge') THEN points <= 0 AND pending_change <= 0 OR points >= 0 AND
        pending_change >= 0 WHEN kind = 'release' THEN pending_change = - points WHEN kind IN ('adjustment',
        'conversion', 'repayment') THEN pending_change = 0 WHEN kind = 'capture' THEN points = 0 AND
        pending_change = 0 WHEN kind = 'void' THEN points > 0 AND pending_change = 0
        ELSE points <= 0 AND pending_change <= 0 END
        AND CASE WHEN kind = 'authorization' THEN reserved_change > 0 AND reserved_change = - points
        WHEN kind = 'capture' THEN reserved_change < 0 WHEN kind = 'void' THEN reserved_change = - points
        ELSE reserved_change = 0 END),
    CONSTRAINT ck_entries_pending_after CHECK (pending_after >= 0),
    CONSTRAINT ck_entries_reserved_after CHECK (reserved_after >= 0),
    CONSTRAINT ck_entries_corrects_earlier CHECK (corrects_sequence < sequence)
);
CREATE UNIQUE INDEX uq_entries_reversal ON entries (account_id, corrects_sequence) WHERE kind = 'reversal';
CREATE INDEX ix_entries_recorded_at ON entries USING brin (recorded_at);
CREATE INDEX ix_entries_corrections ON entries (account_id, corrects_sequence)
    WHERE corrects_sequence IS NOT NULL AND (command_id IS NOT NULL OR kind = 'void');
CREATE TABLE erasures (
    token varchar NOT NULL, name_key bytea NOT NULL, salt_check bytea NOT NULL,
    erased_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_erasures PRIMARY KEY (token),
    CONSTRAINT uq_erasures_name_key UNIQUE (name_key)
);
CREATE TABLE erased_accounts (
    account_id uuid NOT NULL, token varchar NOT NULL, is_closed boolean NOT NULL,
    CONSTRAINT pk_erased_accounts PRIMARY KEY (account_id),
    CONSTRAINT fk_erased_accounts_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id),
    CONSTRAINT fk_erased_accounts_token FOREIGN KEY(token) REFERENCES erasures (token)
);
CREATE TABLE erased_contents (
    content_key bytea NOT NULL, content_hash bytea,
    CONSTRAINT pk_erased_contents PRIMARY KEY (content_key)
);
CREATE TABLE account_salts (
    account_id uuid NOT NULL, salt bytea NOT NULL,
    CONSTRAINT pk_account_salts PRIMARY KEY (account_id),
    CONSTRAINT fk_account_salts_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id)
);
CREATE TABLE erased_whys (
    account_id uuid NOT NULL, sequence bigint NOT NULL, why_digest bytea NOT NULL, seal bytea NOT NULL,
    CONSTRAINT pk_erased_whys PRIMARY KEY (account_id, sequence),
    CONSTRAINT fk_erased_whys_account_id_sequence FOREIGN KEY(account_id, sequence) REFERENCES entries
        (account_id, sequence)
);
CREATE TABLE commands (
    source varchar NOT NULL, command_id varchar NOT NULL, type varchar NOT NULL, business_hash bytea NOT NULL,
    inbox_id bigint NOT NULL, occurred_at timestamptz NOT NULL, recorded_at timestamptz DEFAULT now() NOT NULL,
    account_id uuid, program_version integer, code varchar, answer json NOT NULL,
    CONSTRAINT pk_commands PRIMARY KEY (source, command_id),
    CONSTRAINT fk_commands_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id),
    CONSTRAINT ck_commands_rejected_has_code CHECK (code IS NULL OR account_id IS NULL),
    CONSTRAINT ck_commands_accepted_has_account CHECK (account_id IS NOT NULL OR code IS NOT NULL
        OR type = 'loyalty.command.customer.erase'),
    CONSTRAINT ck_commands_version_of_accepted CHECK ((account_id IS NULL) = (program_version IS NULL))
);
CREATE INDEX ix_commands_account_id ON commands (account_id);
CREATE TABLE authorizations (
    kind varchar NOT NULL, authorization_id varchar NOT NULL, account_id uuid NOT NULL,
    account_shard smallint NOT NULL, sequence bigint NOT NULL, source varchar NOT NULL,
    command_id varchar NOT NULL, points_authorized bigint NOT NULL, points_captured bigint DEFAULT 0 NOT NULL,
    points_returned bigint DEFAULT 0 NOT NULL, state varchar DEFAULT 'open' NOT NULL, expires_at timestamptz,
    reward_id varchar, told_at timestamptz,
    CONSTRAINT pk_authorizations PRIMARY KEY (kind, authorization_id),
    CONSTRAINT fk_authorizations_account_id_sequence FOREIGN KEY(account_id, sequence) REFERENCES entries
        (account_id, sequence),
    CONSTRAINT ck_authorizations_kind CHECK (kind IN ('authorization', 'reward')),
    CONSTRAINT ck_authorizations_reward_of_rewards CHECK ((kind = 'reward') = (reward_id IS NOT NULL)),
    CONSTRAINT ck_authorizations_points_not_negative CHECK (points_captured >= 0 AND points_returned >= 0),
    CONSTRAINT ck_authorizations_points_add_up CHECK (CASE state WHEN 'open' THEN points_captured +
        points_returned < points_authorized ELSE points_captured + points_returned = points_authorized END),
    CONSTRAINT ck_authorizations_state CHECK (state IN ('open', 'captured', 'voided', 'expired', 'clawed_back')),
    CONSTRAINT ck_authorizations_instants CHECK (expires_at BETWEEN '1000-01-01 00:00Z' AND '9000-01-01
        00:00Z')
);
CREATE INDEX ix_authorizations_account_id ON authorizations (account_id);
CREATE INDEX ix_authorizations_due ON authorizations (account_shard, expires_at)
    WHERE state = 'open' AND expires_at IS NOT NULL;
CREATE TABLE members (
    program_id varchar NOT NULL, customer_id varchar NOT NULL, account_id uuid NOT NULL,
    CONSTRAINT pk_members PRIMARY KEY (program_id, customer_id),
    CONSTRAINT fk_members_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id)
);
CREATE INDEX ix_members_account_id ON members (account_id);
CREATE TABLE account_members (
    account_id uuid NOT NULL, customer_id varchar NOT NULL, role varchar NOT NULL,
    CONSTRAINT pk_account_members PRIMARY KEY (account_id, customer_id),
    CONSTRAINT fk_account_members_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id),
    CONSTRAINT ck_account_members_role CHECK (role IN ('member', 'viewer'))
);
CREATE INDEX ix_account_members_customer_id ON account_members (customer_id);
CREATE TABLE orders (
    source varchar NOT NULL, order_id varchar NOT NULL, program_id varchar NOT NULL, account_id uuid,
    customer_id varchar, reference_kind varchar, reference varchar, shard smallint NOT NULL,
    inbox_id bigint NOT NULL, business_hash bytea NOT NULL,
    currency varchar NOT NULL, rate numeric, occurred_at timestamptz NOT NULL,
    recorded_at timestamptz DEFAULT now() NOT NULL, lines json NOT NULL, points_paid numeric NOT NULL,
    points_authorization_id varchar, points_command_id varchar, points_command_source varchar,
    program_version integer NOT NULL, tier_id varchar, sequence bigint,
    points_entitled bigint DEFAULT 0 NOT NULL, points_excused bigint DEFAULT 0 NOT NULL,
    points_shortfall bigint DEFAULT 0 NOT NULL, attributes json, customer_tags json, judgement json,
    qualifying_points bigint NOT NULL, qualifying_spend bigint NOT NULL,
    qualifying_orders smallint NOT NULL, qualifying_steps json, is_counted boolean NOT NULL,
    fulfilled_at timestamptz, cancelled_at timestamptz, amendment json, seal bytea,
    CONSTRAINT pk_orders PRIMARY KEY (source, order_id, program_id),
    CONSTRAINT fk_orders_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id),
    CONSTRAINT ck_orders_points_not_negative CHECK (points_entitled >= 0 AND points_excused >= 0 AND
        points_shortfall >= 0),
    CONSTRAINT ck_orders_guests_earn_nothing CHECK (account_id IS NOT NULL OR points_entitled = 0),
    CONSTRAINT ck_orders_reference CHECK ((reference IS NULL) = (reference_kind IS NULL)),
    CONSTRAINT ck_orders_paid_in_one_way CHECK (num_nonnulls(points_authorization_id, points_command_id) <= 1
        AND (points_command_source IS NULL OR points_command_id IS NOT NULL)),
    CONSTRAINT ck_orders_instants CHECK (fulfilled_at BETWEEN '1000-01-01 00:00Z' AND '9000-01-01
        00:00Z' AND cancelled_at BETWEEN '1000-01-01 00:00Z' AND '9000-01-01 00:00Z')
);
CREATE INDEX ix_orders_account ON orders (account_id, occurred_at);
CREATE TABLE order_payments (
    kind varchar NOT NULL, source varchar NOT NULL, payment_id varchar NOT NULL, order_source varchar,
    order_id varchar, program_id varchar, share varchar NOT NULL, points_due bigint NOT NULL,
    points_excused bigint NOT NULL, points_shortfall bigint NOT NULL,
    CONSTRAINT pk_order_payments PRIMARY KEY (kind, source, payment_id),
    CONSTRAINT fk_order_payments_order_source_order_id_program_id FOREIGN KEY(order_source, order_id, program_id)
        REFERENCES orders (source, order_id, program_id),
    CONSTRAINT ck_order_payments_kind CHECK (kind IN ('authorization', 'command')),
    CONSTRAINT ck_order_payments_source_of_commands CHECK ((kind = 'authorization') = (source = '')),
    CONSTRAINT ck_order_payments_order_whole CHECK (num_nonnulls(order_source, order_id, program_id) IN (0, 3)),
    CONSTRAINT ck_order_payments_share CHECK (share ~ '^(0|1|[1-9][0-9]*/[1-9][0-9]*)$'),
    CONSTRAINT ck_order_payments_points_not_negative CHECK (points_due >= 0 AND points_excused >= 0 AND
        points_shortfall >= 0)
);
CREATE INDEX ix_order_payments_order ON order_payments (order_source, order_id, program_id);
CREATE TABLE reminders (
    account_id uuid NOT NULL, expires_at timestamptz NOT NULL, points bigint NOT NULL,
    days_ahead integer NOT NULL, number integer DEFAULT 1 NOT NULL,
    told_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_reminders PRIMARY KEY (account_id, expires_at),
    CONSTRAINT fk_reminders_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id),
    CONSTRAINT ck_reminders_points CHECK (points >= 0),
    CONSTRAINT ck_reminders_number CHECK (number > 0),
    CONSTRAINT ck_reminders_instants CHECK (expires_at BETWEEN '1000-01-01 00:00Z' AND '9000-01-01
        00:00Z')
);
CREATE INDEX ix_reminders_expires_at ON reminders (expires_at);
CREATE TABLE repairs (
    repair_id bigint GENERATED BY DEFAULT AS IDENTITY, account_id uuid, subject varchar NOT NULL,
    found jsonb NOT NULL, rebuilt jsonb NOT NULL, reason varchar, applied_by varchar NOT NULL,
    applied_at timestamptz DEFAULT now() NOT NULL, seal bytea,
    CONSTRAINT pk_repairs PRIMARY KEY (repair_id),
    CONSTRAINT fk_repairs_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id)
);
CREATE INDEX ix_repairs_account_id ON repairs (account_id);
CREATE TABLE tier_changes (
    account_id uuid NOT NULL, change_number integer NOT NULL, previous_tier_id varchar NOT NULL,
    tier_id varchar NOT NULL, qualifying_points bigint NOT NULL, effective_at timestamptz NOT NULL,
    reason varchar NOT NULL, recorded_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_tier_changes PRIMARY KEY (account_id, change_number),
    CONSTRAINT fk_tier_changes_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id),
    CONSTRAINT ck_tier_changes_reason CHECK (reason IN ('qualified', 'reviewed', 'refunded', 'held',
        'corrected'))
);
CREATE TABLE returns (
    source varchar NOT NULL, return_id varchar NOT NULL, program_id varchar NOT NULL, account_id uuid,
    customer_id varchar NOT NULL, reference_kind varchar, reference varchar, inbox_id bigint NOT NULL,
    business_hash bytea NOT NULL, currency varchar NOT NULL, rate numeric, occurred_at timestamptz NOT NULL,
    recorded_at timestamptz DEFAULT now() NOT NULL, lines json NOT NULL, program_version integer NOT NULL,
    tier_id varchar, points_due bigint NOT NULL, points_taken bigint NOT NULL, points_excused bigint NOT NULL,
    points_shortfall bigint NOT NULL, sequence bigint, seal bytea,
    CONSTRAINT pk_returns PRIMARY KEY (source, return_id, program_id),
    CONSTRAINT fk_returns_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id),
    CONSTRAINT ck_returns_points_add_up CHECK (points_due = points_taken + points_excused +
        points_shortfall),
    CONSTRAINT ck_returns_points_not_negative CHECK (points_taken >= 0 AND points_excused >= 0 AND
        points_shortfall >= 0),
    CONSTRAINT ck_returns_points_have_an_entry CHECK ((sequence IS NULL) = (points_taken = 0)),
    CONSTRAINT ck_returns_taken_of_accounts CHECK (account_id IS NOT NULL OR points_taken = 0),
    CONSTRAINT ck_returns_reference CHECK ((reference IS NULL) = (reference_kind IS NULL))
);
CREATE INDEX ix_returns_account_id ON returns (account_id);
CREATE TABLE usages (
    account_id uuid NOT NULL, name varchar NOT NULL, period varchar NOT NULL,
    points bigint DEFAULT 0 NOT NULL, orders integer DEFAULT 0 NOT NULL,
    carried numeric DEFAULT 0 NOT NULL,
    CONSTRAINT pk_usages PRIMARY KEY (account_id, name, period),
    CONSTRAINT fk_usages_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id)
);
CREATE TABLE shared_expiries (
    account_id uuid NOT NULL, expires_with integer NOT NULL, account_shard smallint NOT NULL,
    earned_by varchar NOT NULL, expires_at timestamptz NOT NULL, extended_to timestamptz,
    is_over boolean DEFAULT false NOT NULL, is_kept boolean DEFAULT true NOT NULL,
    CONSTRAINT pk_shared_expiries PRIMARY KEY (account_id, expires_with),
    CONSTRAINT fk_shared_expiries_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id),
    CONSTRAINT ck_shared_expiries_instants CHECK (expires_at BETWEEN '1000-01-01 00:00Z' AND '9000-01-01
        00:00Z' AND extended_to BETWEEN '1000-01-01 00:00Z' AND '9000-01-01 00:00Z')
);
CREATE INDEX ix_shared_expiries_due ON shared_expiries (account_shard, expires_at) WHERE NOT is_over;
CREATE TABLE lots (
    account_id uuid NOT NULL, lot_number integer NOT NULL, account_shard smallint NOT NULL,
    opened_by_sequence bigint NOT NULL, origin_kind varchar NOT NULL, origin_source varchar NOT NULL,
    origin_id varchar NOT NULL, origin_at timestamptz NOT NULL, points_granted bigint NOT NULL,
    points_remaining bigint NOT NULL, points_expired bigint DEFAULT 0 NOT NULL, available_at timestamptz,
    expires_at timestamptz, earned_by varchar DEFAULT '' NOT NULL,
    is_pending boolean DEFAULT false NOT NULL, points_excused bigint DEFAULT 0 NOT NULL,
    expires_with integer,
    CONSTRAINT pk_lots PRIMARY KEY (account_id, lot_number),
    CONSTRAINT fk_lots_account_id_opened_by_sequence FOREIGN KEY(account_id, opened_by_sequence) REFERENCES
        entries (account_id, sequence),
    CONSTRAINT fk_lots_account_id_expires_with FOREIGN KEY(account_id, expires_with) REFERENCES
        shared_expiries (account_id, expires_with),
    CONSTRAINT ck_lots_points_granted CHECK (points_granted > 0),
    CONSTRAINT ck_lots_points_not_negative CHECK (points_remaining >= 0 AND points_expired >= 0),
    CONSTRAINT ck_lots_points_within_grant CHECK (points_remaining + points_expired <= points_granted),
    CONSTRAINT ck_lots_points_excused CHECK (points_excused BETWEEN 0 AND points_granted),
    CONSTRAINT ck_lots_available_has_time CHECK (is_pending OR available_at IS NOT NULL),
    CONSTRAINT ck_lots_origin_kind CHECK (origin_kind IN ('order', 'command')),
    CONSTRAINT ck_lots_one_expiry CHECK (num_nonnulls(expires_at, expires_with) <= 1),
    CONSTRAINT ck_lots_instants CHECK (available_at BETWEEN '1000-01-01 00:00Z' AND '9000-01-01 00:00Z'
        AND expires_at BETWEEN '1000-01-01 00:00Z' AND '9000-01-01 00:00Z')
);
CREATE INDEX ix_lots_expiry ON lots (account_shard, expires_at) WHERE points_remaining > 0 AND expires_at IS
    NOT NULL;
CREATE INDEX ix_lots_origin ON lots (account_id, origin_id);
CREATE INDEX ix_lots_pending ON lots (account_id, available_at, lot_number) WHERE is_pending AND available_at IS NOT
    NULL;
CREATE INDEX ix_lots_release ON lots (account_shard, available_at) WHERE is_pending AND available_at IS NOT
    NULL;
CREATE INDEX ix_lots_shared ON lots (account_id, expires_with, available_at) WHERE expires_with IS NOT NULL;
CREATE INDEX ix_lots_to_take ON lots (account_id, coalesce(expires_with, 0), coalesce(expires_at, 'infinity'),
    available_at, lot_number) WHERE lot_number > 100 AND points_remaining > 0 AND NOT is_pending;
CREATE TABLE merges (
    account_id uuid NOT NULL, sequence bigint NOT NULL, role varchar NOT NULL, other_account_id uuid NOT NULL,
    other_sequence bigint NOT NULL, lifetime_points bigint NOT NULL, source varchar NOT NULL,
    command_id varchar NOT NULL,
    CONSTRAINT pk_merges PRIMARY KEY (account_id, sequence),
    CONSTRAINT fk_merges_account_id_sequence FOREIGN KEY(account_id, sequence)
        REFERENCES entries (account_id, sequence),
    CONSTRAINT fk_merges_other_account_id_other_sequence FOREIGN KEY(other_account_id, other_sequence)
        REFERENCES entries (account_id, sequence),
    CONSTRAINT ck_merges_role CHECK (role IN ('merged', 'survivor', 'parted', 'restored')),
    CONSTRAINT ck_merges_two_accounts CHECK (other_account_id <> account_id)
);
CREATE TABLE lot_moves (
    account_id uuid NOT NULL, sequence bigint NOT NULL, lot_number integer NOT NULL, other_account_id uuid NOT NULL,
    other_lot_number integer NOT NULL, points_granted bigint NOT NULL, points_expired bigint NOT NULL,
    CONSTRAINT pk_lot_moves PRIMARY KEY (account_id, sequence, lot_number),
    CONSTRAINT fk_lot_moves_account_id_sequence FOREIGN KEY(account_id, sequence)
        REFERENCES merges (account_id, sequence),
    CONSTRAINT fk_lot_moves_account_id_lot_number FOREIGN KEY(account_id, lot_number)
        REFERENCES lots (account_id, lot_number),
    CONSTRAINT fk_lot_moves_other_account_id_other_lot_number FOREIGN KEY(other_account_id, other_lot_number)
        REFERENCES lots (account_id, lot_number),
    CONSTRAINT ck_lot_moves_points_granted CHECK (points_granted >= 0)
);
CREATE INDEX ix_lot_moves_other ON lot_moves (other_account_id, other_lot_number);
CREATE VIEW dated_lots AS SELECT l.account_id, l.lot_number, l.account_shard, l.opened_by_sequence, l.origin_kind,
    l.origin_source, l.origin_id, l.origin_at, l.points_granted, l.points_remaining, l.points_expired, l.available_at,
    coalesce(x.expires_at, l.expires_at) AS expires_at, l.earned_by, l.is_pending, l.points_excused, l.expires_with
    FROM lots l LEFT JOIN shared_expiries x USING (account_id, expires_with);
CREATE TABLE order_events (
    source varchar NOT NULL, order_id varchar NOT NULL, program_id varchar NOT NULL, kind varchar NOT NULL,
    event_key varchar NOT NULL, account_id uuid, inbox_id bigint NOT NULL, business_hash bytea NOT NULL,
    occurred_at timestamptz NOT NULL, recorded_at timestamptz DEFAULT now() NOT NULL,
    points_due bigint NOT NULL, points_taken bigint NOT NULL, points_excused bigint NOT NULL,
    points_shortfall bigint NOT NULL, sequence bigint, accrual_sequence bigint, content json,
    CONSTRAINT pk_order_events PRIMARY KEY (source, order_id, program_id, kind, event_key),
    CONSTRAINT fk_order_events_source_order_id_program_id FOREIGN KEY(source, order_id, program_id)
        REFERENCES orders (source, order_id, program_id),
    CONSTRAINT ck_order_events_kind CHECK (kind IN ('fulfilled', 'cancelled', 'amended', 'refund_reverted',
        'claimed', 'given_up', 'moved_away', 'moved_in')),
    CONSTRAINT ck_order_events_part_has_content CHECK (event_key = '' OR content IS NOT NULL),
    CONSTRAINT ck_order_events_points_add_up CHECK (points_due = points_taken + points_excused +
        points_shortfall),
    CONSTRAINT ck_order_events_points_one_way CHECK (points_taken >= 0 AND points_excused >= 0 AND
        points_shortfall >= 0 OR points_taken <= 0 AND points_excused <= 0 AND points_shortfall <= 0 OR
        kind IN ('moved_away', 'moved_in')),
    CONSTRAINT ck_order_events_points_have_an_entry CHECK ((sequence IS NULL) = (points_taken = 0)),
    CONSTRAINT fk_order_events_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id)
);
CREATE INDEX ix_order_events_account_id ON order_events (account_id);
CREATE TABLE refunds (
    source varchar NOT NULL, refund_id varchar NOT NULL, program_id varchar NOT NULL,
    order_source varchar NOT NULL, order_id varchar NOT NULL, account_id uuid,
    inbox_id bigint NOT NULL, business_hash bytea NOT NULL,
    occurred_at timestamptz NOT NULL, recorded_at timestamptz DEFAULT now() NOT NULL,
    is_full boolean NOT NULL, currency varchar, paid numeric, net numeric, lines json, points_due bigint NOT NULL,
    points_taken bigint NOT NULL, points_excused bigint NOT NULL, points_shortfall bigint NOT NULL,
    sequence bigint,
    CONSTRAINT pk_refunds PRIMARY KEY (source, refund_id, program_id),
    CONSTRAINT fk_refunds_order_source_order_id_program_id FOREIGN KEY(order_source, order_id, program_id) REFERENCES
        orders (source, order_id, program_id),
    CONSTRAINT ck_refunds_points_add_up CHECK (points_due = points_taken + points_excused +
        points_shortfall),
    CONSTRAINT ck_refunds_points_one_way CHECK (points_taken >= 0 AND points_excused >= 0 AND
        points_shortfall >= 0 OR points_taken <= 0 AND points_excused <= 0 AND points_shortfall <= 0),
    CONSTRAINT ck_refunds_points_have_an_entry CHECK ((sequence IS NULL) = (points_taken = 0)),
    CONSTRAINT ck_refunds_in_one_way CHECK (num_nonnulls(nullif(is_full, false), paid, net, lines) <= 1),
    CONSTRAINT fk_refunds_account_id FOREIGN KEY(account_id) REFERENCES accounts (account_id)
);
CREATE INDEX ix_refunds_account_id ON refunds (account_id);
CREATE INDEX ix_refunds_order ON refunds (order_source, order_id, program_id);
CREATE TABLE allocations (
    account_id uuid NOT NULL, sequence bigint NOT NULL, lot_number integer NOT NULL, kind varchar NOT NULL,
    points bigint NOT NULL,
    CONSTRAINT pk_allocations PRIMARY KEY (account_id, sequence, lot_number),
    CONSTRAINT fk_allocations_account_id_sequence FOREIGN KEY(account_id, sequence) REFERENCES entries
        (account_id, sequence),
    CONSTRAINT fk_allocations_account_id_lot_number FOREIGN KEY(account_id, lot_number) REFERENCES lots
        (account_id, lot_number),
    CONSTRAINT ck_allocations_kind CHECK (kind IN ('opened', 'taken', 'returned', 'expired')),
    CONSTRAINT ck_allocations_sign CHECK (CASE WHEN kind IN ('opened', 'returned') THEN points > 0 ELSE
        points < 0 END)
);
CREATE VIEW loyalty_programs AS SELECT p.program_id, p.version, p.document->>'name' AS name,
    coalesce(p.document->>'unit', 'points') AS unit, p.document->>'currency' AS currency,
    p.document->>'time_zone' AS time_zone,
    CASE WHEN coalesce(c.moved_to, p.effective_from) > '-infinity' THEN coalesce(c.moved_to, p.effective_from) END
        AS effective_from, coalesce(c.is_withdrawn, false) AS is_withdrawn, p.applied_at
    FROM programs p LEFT JOIN (
        SELECT program_id, version, (array_agg(effective_from ORDER BY change_number DESC))[1] IS NULL AS is_withdrawn,
            (array_agg(effective_from ORDER BY change_number DESC) FILTER (WHERE effective_from IS NOT NULL))[1]
                AS moved_to
        FROM program_changes GROUP BY program_id, version
    ) AS c ON c.program_id = p.program_id AND c.version = p.version;
CREATE VIEW loyalty_accounts AS SELECT account_id, own_account_id, program_id, customer_id, status, merged_into,
    balance, pending, reserved, deficit, lifetime_points, tier_id, tier_since, tier_until, enrolled_at,
    sequence AS entries, created_at, updated_at FROM accounts;
CREATE VIEW loyalty_entries AS SELECT e.account_id, e.sequence, a.program_id, e.kind, e.points, e.pending_change,
    e.reserved_change, e.deficit_change, e.balance_after, e.pending_after, e.reserved_after, e.lifetime_points_after,
    e.occurred_at, e.recorded_at, e.source, e.order_id, e.refund_id, e.return_id, e.command_id, e.corrects_sequence
    FROM entries e JOIN accounts a USING (account_id);
CREATE VIEW loyalty_lots AS SELECT l.account_id, l.lot_number, a.program_id, l.points_granted, l.points_remaining,
    l.points_expired, l.is_pending, l.available_at, l.expires_at, l.earned_by, l.origin_kind, l.origin_source,
    l.origin_id, l.origin_at, l.opened_by_sequence FROM dated_lots l JOIN accounts a USING (account_id);
CREATE VIEW loyalty_orders AS SELECT source, order_id, program_id, account_id, customer_id, currency, occurred_at,
    recorded_at, program_version, tier_id, points_entitled, points_excused, points_shortfall, is_counted,
    fulfilled_at, cancelled_at FROM orders;
CREATE VIEW loyalty_tier_changes AS SELECT t.account_id, t.change_number, a.program_id, t.previous_tier_id, t.tier_id,
    t.reason, t.qualifying_points, t.effective_at, t.recorded_at
    FROM tier_changes t JOIN accounts a USING (account_id);
CREATE VIEW loyalty_authorizations AS SELECT h.kind, h.authorization_id, h.account_id, a.program_id, h.sequence,
    h.reward_id, h.points_authorized, h.points_captured, h.points_returned,
    h.points_authorized - h.points_captured - h.points_returned AS points_held, h.state, h.expires_at
    FROM authorizations h JOIN accounts a USING (account_id);
CREATE TABLE liability_snapshots (
    program_id varchar NOT NULL, month date NOT NULL, as_of timestamptz NOT NULL, program_version integer NOT NULL,
    points_expired bigint NOT NULL, points_spent jsonb NOT NULL, taken_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_liability_snapshots PRIMARY KEY (program_id, month),
    CONSTRAINT fk_liability_snapshots_program_id_program_version FOREIGN KEY(program_id, program_version)
        REFERENCES programs (program_id, version),
    CONSTRAINT ck_liability_snapshots_month CHECK (extract(day FROM month) = 1),
    CONSTRAINT ck_liability_snapshots_month_was_over CHECK (as_of < taken_at),
    CONSTRAINT ck_liability_snapshots_instants CHECK (as_of BETWEEN '1000-01-01 00:00Z' AND '9000-01-01 00:00Z')
);
CREATE TABLE liability_lines (
    program_id varchar NOT NULL, month date NOT NULL, line_number integer NOT NULL, bucket varchar NOT NULL,
    tier_id varchar NOT NULL, earned_month date, last_month date, points bigint NOT NULL,
    CONSTRAINT pk_liability_lines PRIMARY KEY (program_id, month, line_number),
    CONSTRAINT fk_liability_lines_program_id_month FOREIGN KEY(program_id, month)
        REFERENCES liability_snapshots (program_id, month),
    CONSTRAINT ck_liability_lines_bucket CHECK (bucket IN ('available', 'pending', 'reserved', 'deficit', 'ended')),
    CONSTRAINT ck_liability_lines_earned_month CHECK ((bucket IN ('reserved', 'deficit')) = (earned_month IS NULL)),
    CONSTRAINT ck_liability_lines_last_month CHECK (last_month IS NULL OR earned_month IS NOT NULL)
);
CREATE TABLE activity_lines (
    program_id varchar NOT NULL, month date NOT NULL, line_number integer NOT NULL, flow varchar NOT NULL,
    cause_kind varchar NOT NULL, cause varchar NOT NULL, program_version integer, points bigint NOT NULL,
    CONSTRAINT pk_activity_lines PRIMARY KEY (program_id, month, line_number),
    CONSTRAINT fk_activity_lines_program_id_month FOREIGN KEY(program_id, month)
        REFERENCES liability_snapshots (program_id, month),
    CONSTRAINT ck_activity_lines_flow CHECK (flow IN ('issued', 'clawed_back', 'redeemed', 'expired', 'adjusted',
        'moved')),
    CONSTRAINT ck_activity_lines_cause_kind CHECK (cause_kind IN ('rule', 'promotion', 'entry')),
    CONSTRAINT ck_activity_lines_points CHECK (points <> 0)
);
CREATE VIEW loyalty_liability_snapshots AS SELECT s.program_id, s.month, s.as_of, s.program_version,
    coalesce(p.document->>'unit', 'points') AS unit, p.document->>'currency' AS currency,
    (p.document->>'point_value')::numeric AS point_value, l.points_available, l.points_pending, l.points_reserved,
    l.points_deficit,
    l.points_available + l.points_pending + l.points_reserved + l.points_deficit AS points_outstanding, l.points_ended,
    s.taken_at AS kept_at
    FROM liability_snapshots s
    JOIN programs p ON p.program_id = s.program_id AND p.version = s.program_version
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(points) FILTER (WHERE bucket = 'available'), 0)::bigint AS points_available,
            coalesce(sum(points) FILTER (WHERE bucket = 'pending'), 0)::bigint AS points_pending,
            coalesce(sum(points) FILTER (WHERE bucket = 'reserved'), 0)::bigint AS points_reserved,
            coalesce(sum(points) FILTER (WHERE bucket = 'deficit'), 0)::bigint AS points_deficit,
            coalesce(sum(points) FILTER (WHERE bucket = 'ended'), 0)::bigint AS points_ended
        FROM liability_lines WHERE program_id = s.program_id AND month = s.month
    ) AS l;
CREATE VIEW loyalty_liability_lines AS SELECT program_id, month, line_number, bucket, tier_id, earned_month,
    last_month, points FROM liability_lines;
CREATE VIEW loyalty_activity_lines AS SELECT program_id, month, line_number, flow, cause_kind, cause, program_version,
    points FROM activity_lines;
INSERT INTO numbers (name) VALUES ('inbox'), ('outbox');
INSERT INTO schema_support (oldest_revision) VALUES ('0001')
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
