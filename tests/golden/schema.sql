CREATE VIEW v_episodes AS
SELECT
e.run_id AS run, CASE WHEN p.display_name <> '' THEN p.display_name WHEN p.number > 0 THEN 'P' || p.number WHEN e.track IS NOT NULL THEN 'ID ' || e.track END AS person, p.display_name AS name, e.track AS track,
CASE e.label WHEN 0 THEN 'surprise' WHEN 1 THEN 'fear' WHEN 2 THEN 'disgust' WHEN 3 THEN 'happiness' WHEN 4 THEN 'sadness' WHEN 5 THEN 'anger' WHEN 6 THEN 'neutral' WHEN -1 THEN 'uncertain' WHEN -2 THEN 'not readable' END AS estimate, e.start_s AS start_s, e.end_s AS end_s, e.end_s - e.start_s AS duration_s,
e.apex_s AS apex_s, e.frames AS frames, e.mean_probability AS mean_probability,
e.peak_probability AS peak_probability,
(SELECT count(*) FROM corrections c
JOIN faces f ON f.run_id = c.run_id AND f.frame_index = c.frame_index AND f.face_index = c.face_index
JOIN frames fr ON fr.run_id = c.run_id AND fr.frame_index = c.frame_index
WHERE c.run_id = e.run_id AND f.track = e.track AND c.label <> e.label
AND fr.time_s >= e.start_s AND fr.time_s < e.end_s) AS corrected_faces
FROM episodes e
JOIN tracks t ON t.run_id = e.run_id AND t.number = e.track
LEFT JOIN persons p ON p.id = t.person_id;

CREATE VIEW v_faces AS
SELECT
f.run_id AS run, CASE WHEN p.display_name <> '' THEN p.display_name WHEN p.number > 0 THEN 'P' || p.number WHEN f.track IS NOT NULL THEN 'ID ' || f.track END AS person, p.display_name AS name, f.track AS track,
fr.time_s AS time_s, f.frame_index AS frame_index, f.face_index AS face_index,
f.x1_tenths / 10.0 AS x1, f.y1_tenths / 10.0 AS y1, f.x2_tenths / 10.0 AS x2, f.y2_tenths / 10.0 AS y2,
f.score AS score, CASE coalesce(c.label, f.label) WHEN 0 THEN 'surprise' WHEN 1 THEN 'fear' WHEN 2 THEN 'disgust' WHEN 3 THEN 'happiness' WHEN 4 THEN 'sadness' WHEN 5 THEN 'anger' WHEN 6 THEN 'neutral' WHEN -1 THEN 'uncertain' WHEN -2 THEN 'not readable' END AS label,
CASE WHEN c.label >= 0 THEN 1.0 ELSE f.probability END AS probability,
CASE WHEN coalesce(c.label, f.label) = -1 THEN 1 ELSE 0 END AS uncertain,
CASE f.label WHEN 0 THEN 'surprise' WHEN 1 THEN 'fear' WHEN 2 THEN 'disgust' WHEN 3 THEN 'happiness' WHEN 4 THEN 'sadness' WHEN 5 THEN 'anger' WHEN 6 THEN 'neutral' WHEN -1 THEN 'uncertain' WHEN -2 THEN 'not readable' END AS estimate, CASE c.label WHEN 0 THEN 'surprise' WHEN 1 THEN 'fear' WHEN 2 THEN 'disgust' WHEN 3 THEN 'happiness' WHEN 4 THEN 'sadness' WHEN 5 THEN 'anger' WHEN 6 THEN 'neutral' WHEN -1 THEN 'uncertain' WHEN -2 THEN 'not readable' END AS corrected,
f.p_surprise_e4 / 10000.0 AS p_surprise,
f.p_fear_e4 / 10000.0 AS p_fear,
f.p_disgust_e4 / 10000.0 AS p_disgust,
f.p_happiness_e4 / 10000.0 AS p_happiness,
f.p_sadness_e4 / 10000.0 AS p_sadness,
f.p_anger_e4 / 10000.0 AS p_anger,
f.p_neutral_e4 / 10000.0 AS p_neutral,
f.raw_surprise_e4 / 10000.0 AS raw_surprise,
f.raw_fear_e4 / 10000.0 AS raw_fear,
f.raw_disgust_e4 / 10000.0 AS raw_disgust,
f.raw_happiness_e4 / 10000.0 AS raw_happiness,
f.raw_sadness_e4 / 10000.0 AS raw_sadness,
f.raw_anger_e4 / 10000.0 AS raw_anger,
f.raw_neutral_e4 / 10000.0 AS raw_neutral,
f.quality_e4 / 10000.0 AS quality
FROM faces f
JOIN frames fr ON fr.run_id = f.run_id AND fr.frame_index = f.frame_index
LEFT JOIN tracks t ON t.run_id = f.run_id AND t.number = f.track
LEFT JOIN persons p ON p.id = t.person_id
LEFT JOIN corrections c
ON c.run_id = f.run_id AND c.frame_index = f.frame_index AND c.face_index = f.face_index;

CREATE VIEW v_markers AS
SELECT
m.run_id AS run, m.label AS label, m.time_s AS time_s, m.end_s AS end_s, m.note AS note,
i.file_name AS file_name, i.offset_s AS offset_s, i.stretch AS stretch
FROM markers m LEFT JOIN marker_imports i ON i.id = m.import_id;

CREATE VIEW v_persons AS
SELECT
t.run_id AS run, CASE WHEN p.display_name <> '' THEN p.display_name WHEN p.number > 0 THEN 'P' || p.number WHEN min(t.number) IS NOT NULL THEN 'ID ' || min(t.number) END AS person, p.display_name AS name, min(t.number) AS track,
count(*) AS tracks, min(t.first_s) AS first_s, max(t.last_s) AS last_s, sum(t.faces) AS faces
FROM tracks t LEFT JOIN persons p ON p.id = t.person_id
GROUP BY t.run_id, coalesce(-t.person_id, t.number), p.display_name, p.number;

CREATE VIEW v_runs AS
SELECT
r.id AS run, s.name AS video, s.path AS path, r.status AS status, r.started_at AS started_at, r.ended_at AS ended_at,
r.frames AS frames, r.faces AS faces, r.tracks AS tracks,
(SELECT count(DISTINCT coalesce(-t.person_id, t.number)) FROM tracks t WHERE t.run_id = r.id) AS persons,
r.width AS width, r.height AS height, r.fps AS fps, r.video_s AS video_s, r.elapsed_s AS elapsed_s,
r.detector AS detector, r.classifier AS classifier, r.purpose AS purpose, r.error AS error,
r.fertrack_version AS fertrack_version, c.participant AS participant, c.session AS session,
c.condition AS condition
FROM runs r JOIN sources s ON s.id = r.source_id LEFT JOIN recordings c ON c.run_id = r.id;

CREATE TABLE alembic_version (
version_num VARCHAR(32) NOT NULL,
CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE analysed (
run_id INTEGER NOT NULL,
position INTEGER NOT NULL,
frames INTEGER NOT NULL,
packed BLOB NOT NULL,
CONSTRAINT pk_analysed PRIMARY KEY (run_id, position),
CONSTRAINT fk_analysed_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);

CREATE TABLE corrections (
run_id INTEGER NOT NULL,
frame_index INTEGER NOT NULL,
face_index SMALLINT NOT NULL,
label SMALLINT NOT NULL,
author TEXT NOT NULL,
imported_at DATETIME NOT NULL,
CONSTRAINT pk_corrections PRIMARY KEY (run_id, frame_index, face_index),
CONSTRAINT fk_corrections_run_id_frame_index_face_index_faces FOREIGN KEY(run_id, frame_index, face_index) REFERENCES faces (run_id, frame_index, face_index) ON DELETE CASCADE
)
WITHOUT ROWID
;

CREATE TABLE embeddings (
run_id INTEGER NOT NULL,
track INTEGER NOT NULL,
position SMALLINT NOT NULL,
person_id INTEGER NOT NULL,
embedder TEXT NOT NULL,
quality REAL NOT NULL,
vector BLOB NOT NULL,
expires_at DATETIME NOT NULL,
CONSTRAINT pk_embeddings PRIMARY KEY (run_id, track, position),
CONSTRAINT fk_embeddings_run_id_track_tracks FOREIGN KEY(run_id, track) REFERENCES tracks (run_id, number) ON DELETE CASCADE,
CONSTRAINT fk_embeddings_person_id_persons FOREIGN KEY(person_id) REFERENCES persons (id) ON DELETE CASCADE
);

CREATE TABLE episode_sets (
run_id INTEGER NOT NULL,
shown_s DOUBLE NOT NULL,
stored_at DATETIME NOT NULL,
CONSTRAINT pk_episode_sets PRIMARY KEY (run_id),
CONSTRAINT fk_episode_sets_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);

CREATE TABLE episodes (
run_id INTEGER NOT NULL,
track INTEGER NOT NULL,
first_frame INTEGER NOT NULL,
label SMALLINT NOT NULL,
frames INTEGER NOT NULL,
start_s DOUBLE NOT NULL,
apex_s DOUBLE NOT NULL,
end_s DOUBLE NOT NULL,
mean_probability DOUBLE NOT NULL,
peak_probability DOUBLE NOT NULL,
CONSTRAINT pk_episodes PRIMARY KEY (run_id, track, first_frame),
CONSTRAINT fk_episodes_run_id_track_tracks FOREIGN KEY(run_id, track) REFERENCES tracks (run_id, number) ON DELETE CASCADE
)
WITHOUT ROWID
;

CREATE TABLE erasures (
id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
erased_at DATETIME NOT NULL,
finished_at DATETIME,
counts JSON NOT NULL
);

CREATE TABLE events (
run_id INTEGER NOT NULL,
frame_index INTEGER NOT NULL,
kind VARCHAR(16) NOT NULL,
time_s DOUBLE NOT NULL,
details JSON NOT NULL,
CONSTRAINT pk_events PRIMARY KEY (run_id, frame_index, kind),
CONSTRAINT fk_events_run_id_frame_index_frames FOREIGN KEY(run_id, frame_index) REFERENCES frames (run_id, frame_index) ON DELETE CASCADE
)
WITHOUT ROWID
;

CREATE TABLE "faces" (
run_id INTEGER NOT NULL,
frame_index INTEGER NOT NULL,
face_index SMALLINT NOT NULL,
track INTEGER,
label SMALLINT NOT NULL,
probability REAL NOT NULL,
score REAL NOT NULL,
xyxy BLOB NOT NULL,
landmarks BLOB NOT NULL,
logits BLOB NOT NULL,
probabilities BLOB NOT NULL,
smoothed BLOB NOT NULL,
x1_tenths INTEGER,
y1_tenths INTEGER,
x2_tenths INTEGER,
y2_tenths INTEGER,
p_surprise_e4 SMALLINT,
p_fear_e4 SMALLINT,
p_disgust_e4 SMALLINT,
p_happiness_e4 SMALLINT,
p_sadness_e4 SMALLINT,
p_anger_e4 SMALLINT,
p_neutral_e4 SMALLINT,
raw_surprise_e4 SMALLINT,
raw_fear_e4 SMALLINT,
raw_disgust_e4 SMALLINT,
raw_happiness_e4 SMALLINT,
raw_sadness_e4 SMALLINT,
raw_anger_e4 SMALLINT,
raw_neutral_e4 SMALLINT,
quality_e4 SMALLINT,
CONSTRAINT pk_faces PRIMARY KEY (run_id, frame_index, face_index),
CONSTRAINT fk_faces_run_id_frame_index_frames FOREIGN KEY(run_id, frame_index) REFERENCES frames (run_id, frame_index) ON DELETE CASCADE,
CONSTRAINT fk_faces_run_id_track_tracks FOREIGN KEY(run_id, track) REFERENCES tracks (run_id, number)
)
WITHOUT ROWID
;

CREATE TABLE failed_inputs (
id INTEGER NOT NULL,
path TEXT NOT NULL,
content TEXT NOT NULL,
made_with TEXT NOT NULL,
error TEXT NOT NULL,
failed_at DATETIME NOT NULL,
CONSTRAINT pk_failed_inputs PRIMARY KEY (id),
CONSTRAINT uq_failed_inputs_path_made_with UNIQUE (path, made_with)
);

CREATE TABLE "frames" (
run_id INTEGER NOT NULL,
frame_index INTEGER NOT NULL,
time_s DOUBLE NOT NULL,
read_us INTEGER NOT NULL,
detect_us INTEGER NOT NULL,
align_us INTEGER NOT NULL,
classify_us INTEGER NOT NULL,
track_us INTEGER NOT NULL,
queue_depth SMALLINT,
CONSTRAINT pk_frames PRIMARY KEY (run_id, frame_index),
CONSTRAINT fk_frames_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
)
WITHOUT ROWID
;

CREATE TABLE links (
id INTEGER NOT NULL,
run_id INTEGER NOT NULL,
track INTEGER NOT NULL,
person_id INTEGER NOT NULL,
similarity DOUBLE,
state VARCHAR(16) NOT NULL,
embedder TEXT NOT NULL,
created_at DATETIME NOT NULL,
CONSTRAINT pk_links PRIMARY KEY (id),
CONSTRAINT ck_links_state CHECK (state IN ('accepted', 'suggested', 'rejected', 'manual')),
CONSTRAINT fk_links_run_id_track_tracks FOREIGN KEY(run_id, track) REFERENCES tracks (run_id, number) ON DELETE CASCADE,
CONSTRAINT fk_links_person_id_persons FOREIGN KEY(person_id) REFERENCES persons (id) ON DELETE CASCADE,
CONSTRAINT uq_links_run_id_track_person_id UNIQUE (run_id, track, person_id)
);

CREATE TABLE looks (
run_id INTEGER NOT NULL,
frame_index INTEGER NOT NULL,
classified BOOLEAN NOT NULL,
detect_every SMALLINT NOT NULL,
long_side SMALLINT NOT NULL,
classify_hz REAL NOT NULL,
CONSTRAINT pk_looks PRIMARY KEY (run_id, frame_index),
CONSTRAINT fk_looks_run_id_frame_index_frames FOREIGN KEY(run_id, frame_index) REFERENCES frames (run_id, frame_index) ON DELETE CASCADE
)
WITHOUT ROWID
;

CREATE TABLE marker_imports (
id INTEGER NOT NULL,
run_id INTEGER NOT NULL,
file_name TEXT NOT NULL,
file_format TEXT NOT NULL,
offset_s DOUBLE NOT NULL,
stretch DOUBLE NOT NULL,
imported_at DATETIME NOT NULL,
CONSTRAINT pk_marker_imports PRIMARY KEY (id),
CONSTRAINT fk_marker_imports_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);

CREATE TABLE "markers" (
id INTEGER NOT NULL,
run_id INTEGER NOT NULL,
time_s DOUBLE NOT NULL,
end_s DOUBLE,
label TEXT NOT NULL,
note TEXT NOT NULL,
import_id INTEGER,
CONSTRAINT pk_markers PRIMARY KEY (id),
CONSTRAINT fk_markers_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
CONSTRAINT fk_markers_import_id_marker_imports FOREIGN KEY(import_id) REFERENCES marker_imports (id) ON DELETE CASCADE
);

CREATE TABLE outputs (
id INTEGER NOT NULL,
run_id INTEGER,
kind VARCHAR(16) NOT NULL,
path TEXT NOT NULL,
options JSON NOT NULL,
digest TEXT NOT NULL,
written_at DATETIME NOT NULL,
stale BOOLEAN NOT NULL,
CONSTRAINT pk_outputs PRIMARY KEY (id),
CONSTRAINT fk_outputs_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
CONSTRAINT uq_outputs_run_id_path UNIQUE (run_id, path)
);

CREATE TABLE person_actions (
id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
run_id INTEGER NOT NULL,
kind VARCHAR(16) NOT NULL,
sentence TEXT NOT NULL,
done_at DATETIME NOT NULL,
"before" JSON NOT NULL,
"after" JSON NOT NULL,
undoes INTEGER,
CONSTRAINT fk_person_actions_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
CONSTRAINT fk_person_actions_undoes_person_actions FOREIGN KEY(undoes) REFERENCES person_actions (id) ON DELETE SET NULL
);

CREATE TABLE "persons" (
id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
display_name TEXT NOT NULL,
created_at DATETIME NOT NULL,
number INTEGER NOT NULL
);

CREATE TABLE recordings (
run_id INTEGER NOT NULL,
participant TEXT NOT NULL,
session TEXT NOT NULL,
condition TEXT NOT NULL,
content TEXT NOT NULL,
made_with TEXT NOT NULL,
CONSTRAINT pk_recordings PRIMARY KEY (run_id),
CONSTRAINT fk_recordings_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);

CREATE TABLE rescores (
id INTEGER NOT NULL,
run_id INTEGER NOT NULL,
rescored_at DATETIME NOT NULL,
config_toml TEXT NOT NULL,
config_digest TEXT NOT NULL,
calibration JSON NOT NULL,
CONSTRAINT pk_rescores PRIMARY KEY (id),
CONSTRAINT fk_rescores_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);

CREATE TABLE run_erasures (
run_id INTEGER NOT NULL,
persons INTEGER NOT NULL,
CONSTRAINT pk_run_erasures PRIMARY KEY (run_id),
CONSTRAINT fk_run_erasures_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);

CREATE TABLE "runs" (
id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
source_id INTEGER NOT NULL,
status VARCHAR(16) NOT NULL,
error TEXT NOT NULL,
notes JSON NOT NULL,
started_at DATETIME NOT NULL,
ended_at DATETIME,
heartbeat_at DATETIME NOT NULL,
host TEXT NOT NULL,
pid INTEGER NOT NULL,
fertrack_version TEXT NOT NULL,
config_toml TEXT NOT NULL,
config_digest TEXT NOT NULL,
detector TEXT NOT NULL,
classifier TEXT NOT NULL,
calibration JSON NOT NULL,
width INTEGER NOT NULL,
height INTEGER NOT NULL,
fps DOUBLE NOT NULL,
frame_count BIGINT NOT NULL,
duration_s DOUBLE NOT NULL,
time_base VARCHAR(48) NOT NULL,
rotation SMALLINT NOT NULL,
has_audio BOOLEAN NOT NULL,
codec TEXT NOT NULL,
frames INTEGER NOT NULL,
faces INTEGER NOT NULL,
tracks INTEGER NOT NULL,
dropped INTEGER NOT NULL,
decode_failures INTEGER NOT NULL,
video_s DOUBLE NOT NULL,
elapsed_s DOUBLE NOT NULL,
purpose TEXT NOT NULL,
consent TEXT NOT NULL,
privacy_override VARCHAR(16) NOT NULL,
retention_days INTEGER,
CONSTRAINT fk_runs_source_id_sources FOREIGN KEY(source_id) REFERENCES sources (id),
CONSTRAINT ck_runs_status CHECK (status IN ('running', 'complete', 'failed', 'interrupted'))
);

CREATE TABLE sources (
id INTEGER NOT NULL,
name TEXT NOT NULL,
path TEXT NOT NULL,
CONSTRAINT pk_sources PRIMARY KEY (id),
CONSTRAINT uq_sources_path_name UNIQUE (path, name)
);

CREATE TABLE sqlite_sequence(name,seq);

CREATE TABLE "stage_timings" (
run_id INTEGER NOT NULL,
position SMALLINT NOT NULL,
stage VARCHAR(32) NOT NULL,
frames INTEGER NOT NULL,
total_s DOUBLE NOT NULL,
mean_ms DOUBLE NOT NULL,
p50_ms DOUBLE NOT NULL,
p95_ms DOUBLE NOT NULL,
max_ms DOUBLE NOT NULL,
p99_ms DOUBLE,
CONSTRAINT pk_stage_timings PRIMARY KEY (run_id, position),
CONSTRAINT fk_stage_timings_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);

CREATE TABLE thumbnails (
run_id INTEGER NOT NULL,
track INTEGER NOT NULL,
frame_index INTEGER NOT NULL,
quality REAL NOT NULL,
picture BLOB NOT NULL,
CONSTRAINT pk_thumbnails PRIMARY KEY (run_id, track),
CONSTRAINT fk_thumbnails_run_id_track_tracks FOREIGN KEY(run_id, track) REFERENCES tracks (run_id, number) ON DELETE CASCADE
);

CREATE TABLE tracks (
run_id INTEGER NOT NULL,
number INTEGER NOT NULL,
person_id INTEGER,
first_frame INTEGER NOT NULL,
last_frame INTEGER NOT NULL,
first_s DOUBLE NOT NULL,
last_s DOUBLE NOT NULL,
faces INTEGER NOT NULL,
CONSTRAINT pk_tracks PRIMARY KEY (run_id, number),
CONSTRAINT fk_tracks_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
CONSTRAINT fk_tracks_person_id_persons FOREIGN KEY(person_id) REFERENCES persons (id) ON DELETE SET NULL
);

CREATE INDEX ix_embeddings_expires_at ON embeddings (expires_at);

CREATE INDEX ix_embeddings_person_id ON embeddings (person_id);

CREATE INDEX ix_faces_run_id_track_label_probability ON faces (run_id, track, label, probability);

CREATE INDEX ix_links_person_id ON links (person_id);

CREATE INDEX ix_marker_imports_run_id ON marker_imports (run_id);

CREATE INDEX ix_markers_import_id ON markers (import_id);

CREATE INDEX ix_markers_run_id_time_s ON markers (run_id, time_s);

CREATE INDEX ix_person_actions_run_id ON person_actions (run_id);

CREATE INDEX ix_recordings_content ON recordings (content);

CREATE INDEX ix_rescores_run_id ON rescores (run_id);

CREATE INDEX ix_runs_source_id ON runs (source_id);

CREATE INDEX ix_tracks_person_id ON tracks (person_id);
