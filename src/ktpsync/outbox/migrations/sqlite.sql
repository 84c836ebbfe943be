CREATE TABLE ktpsync_audit (
	id INTEGER NOT NULL,
	seq INTEGER,
	at_ms INTEGER NOT NULL,
	event TEXT NOT NULL,
	packet_id TEXT,
	dest TEXT,
	who TEXT NOT NULL,
	detail TEXT NOT NULL,
	hash TEXT,
	PRIMARY KEY (id),
	UNIQUE (seq)
);
CREATE TABLE ktpsync_chain (
	id INTEGER NOT NULL,
	seq INTEGER NOT NULL,
	PRIMARY KEY (id)
);
INSERT INTO "ktpsync_chain" VALUES(1,0);
CREATE TABLE ktpsync_delivery (
	id INTEGER NOT NULL,
	packet_id TEXT NOT NULL,
	dest TEXT NOT NULL,
	state TEXT NOT NULL,
	urgent INTEGER NOT NULL,
	size INTEGER NOT NULL,
	due_ms INTEGER NOT NULL,
	fence INTEGER DEFAULT '0' NOT NULL,
	owner TEXT,
	attempts INTEGER DEFAULT '0' NOT NULL,
	failures INTEGER DEFAULT '0' NOT NULL,
	failing_ms INTEGER DEFAULT '0' NOT NULL,
	last_failure_ms INTEGER,
	code TEXT,
	reason TEXT,
	receipt TEXT,
	settled_ms INTEGER,
	verified_ms INTEGER,
	PRIMARY KEY (id),
	CONSTRAINT ktpsync_delivery_once UNIQUE (packet_id, dest),
	FOREIGN KEY(packet_id) REFERENCES ktpsync_packet (packet_id)
);
CREATE TABLE ktpsync_destination (
	dest TEXT NOT NULL,
	kind TEXT NOT NULL,
	required INTEGER NOT NULL,
	active INTEGER NOT NULL,
	paused TEXT,
	breaker TEXT NOT NULL,
	fail_run INTEGER NOT NULL,
	opened INTEGER NOT NULL,
	until_ms INTEGER NOT NULL,
	throttled_ms INTEGER NOT NULL,
	epoch INTEGER NOT NULL,
	last_error TEXT,
	cursor TEXT,
	settings TEXT NOT NULL,
	delivered INTEGER NOT NULL,
	PRIMARY KEY (dest)
);
CREATE TABLE ktpsync_outbox (
	id INTEGER NOT NULL,
	outbox_id TEXT NOT NULL,
	created_ms INTEGER NOT NULL, backlog BIGINT, oldest_ms BIGINT,
	PRIMARY KEY (id)
);
CREATE TABLE ktpsync_packet (
	packet_id TEXT NOT NULL,
	sha256 TEXT NOT NULL,
	size INTEGER NOT NULL,
	reference TEXT,
	fingerprint BLOB,
	person BLOB,
	urgent INTEGER NOT NULL,
	created_ms INTEGER NOT NULL,
	location TEXT NOT NULL,
	status TEXT,
	status_ms INTEGER,
	PRIMARY KEY (packet_id),
	UNIQUE (reference)
);
CREATE TABLE ktpsync_status (
	id INTEGER NOT NULL,
	packet_id TEXT NOT NULL,
	status TEXT NOT NULL,
	changed_ms INTEGER NOT NULL,
	note TEXT NOT NULL,
	PRIMARY KEY (id),
	CONSTRAINT ktpsync_status_once UNIQUE (packet_id, status, changed_ms),
	FOREIGN KEY(packet_id) REFERENCES ktpsync_packet (packet_id)
);
CREATE TABLE ktpsync_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT ktpsync_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "ktpsync_version" VALUES('0002');
CREATE INDEX ktpsync_packet_person ON ktpsync_packet (person) WHERE person IS NOT NULL;
CREATE INDEX ktpsync_delivery_rejected ON ktpsync_delivery (dest, id) WHERE state = 'rejected';
CREATE INDEX ktpsync_audit_packet ON ktpsync_audit (packet_id);
CREATE INDEX ktpsync_audit_unchained ON ktpsync_audit (id) WHERE seq IS NULL;
CREATE INDEX ktpsync_delivery_due ON ktpsync_delivery (dest, urgent, due_ms, id, owner, size) WHERE state = 'open';
CREATE INDEX ktpsync_packet_status ON ktpsync_packet (status, location, status_ms, packet_id) WHERE status IS NOT NULL;
