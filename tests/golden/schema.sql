CREATE TABLE alembic_version (
version_num VARCHAR(32) NOT NULL,
CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
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

CREATE TABLE faces (
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
CONSTRAINT pk_faces PRIMARY KEY (run_id, frame_index, face_index),
CONSTRAINT fk_faces_run_id_frame_index_frames FOREIGN KEY(run_id, frame_index) REFERENCES frames (run_id, frame_index) ON DELETE CASCADE,
CONSTRAINT fk_faces_run_id_track_tracks FOREIGN KEY(run_id, track) REFERENCES tracks (run_id, number)
)
WITHOUT ROWID
;

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

CREATE INDEX ix_rescores_run_id ON rescores (run_id);

CREATE INDEX ix_runs_source_id ON runs (source_id);

CREATE INDEX ix_tracks_person_id ON tracks (person_id);
