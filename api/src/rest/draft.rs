//! A meeting's fields as a client sends them, for creating and for changing.

use plenary_cluster::model::{Features, MeetingType, RecordingConfig, Timestamp};
use serde_json::{Map, Value};

use crate::fields::Fields;

/// Bytes of `meeting_meta_data` as JSON.
const META_MAX: usize = 16 * 1024;

/// The key in `meeting_meta_data` that is the server's: overlaid on reads, passed over on writes.
pub(super) const OWN_META: &str = "webrtc_config";

const TYPES: [(&str, MeetingType); 2] = [("instant", MeetingType::Instant), ("scheduled", MeetingType::Scheduled)];
const STORAGES: [(&str, &str); 2] = [("local", "local"), ("cloud", "cloud")];

/// What was sent; `None` where nothing was.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) start_time: Option<Timestamp>,
    pub(super) end_time: Option<Timestamp>,
    pub(super) location: Option<String>,
    pub(super) invited: Option<Vec<String>>,
    pub(super) meta_data: Option<String>,
    pub(super) meeting_type: Option<MeetingType>,
    pub(super) max_participants: Option<u32>,
    /// `Some(None)`: no password from now on.
    pub(super) password: Option<Option<String>>,
    pub(super) waiting_room_enabled: Option<bool>,
    pub(super) require_host_approval: Option<bool>,
    pub(super) guests_allowed: Option<bool>,
    pub(super) features: Option<Features>,
    pub(super) recording: Option<RecordingConfig>,
}

/// What stands now: switches that are not sent stay as here.
#[derive(Debug, Default)]
pub(super) struct Base {
    pub(super) start_time: Option<Timestamp>,
    pub(super) end_time: Option<Timestamp>,
    pub(super) features: Features,
    pub(super) recording: RecordingConfig,
}

impl Draft {
    /// Reads all fields.
    pub(super) fn read(fields: &mut Fields<'_>, base: &Base) -> Self {
        let draft = Self {
            name: fields.text("meeting_name", 1..=200),
            description: fields.text("meeting_description", 0..=5000),
            start_time: fields.time("meeting_start_time"),
            end_time: fields.time("meeting_end_time"),
            location: fields.text("meeting_location", 0..=500),
            invited: fields.texts("participants", 1000, 1..=254),
            meta_data: fields.free_object("meeting_meta_data", META_MAX).map(own_meta),
            meeting_type: fields.choice("meeting_type", &TYPES),
            max_participants: fields
                .integer("max_participants", 1..=100_000)
                .and_then(|number| u32::try_from(number).ok()),
            password: password(fields),
            waiting_room_enabled: fields.boolean("waiting_room_enabled"),
            require_host_approval: fields.boolean("require_host_approval"),
            guests_allowed: fields.boolean("guests_allowed"),
            features: fields.object("features", |inner| features(inner, base.features)),
            recording: fields.object("recording_config", |inner| recording(inner, &base.recording)),
        };
        let (start, end) = (draft.start_time.or(base.start_time), draft.end_time.or(base.end_time));
        let sent = draft.start_time.is_some() || draft.end_time.is_some();
        if let (true, Some(start), Some(end)) = (sent, start, end)
            && end <= start
        {
            let message = "`meeting_end_time` must be after `meeting_start_time`";
            fields.fault("meeting_end_time", "out_of_range", message);
        }
        draft
    }
}

fn own_meta(mut object: Map<String, Value>) -> String {
    object.remove(OWN_META);
    Value::Object(object).to_string()
}

fn password(fields: &mut Fields<'_>) -> Option<Option<String>> {
    let sent = fields.present("meeting_password");
    let text = fields.text("meeting_password", 0..=128).filter(|text| !text.is_empty());
    sent.then_some(text)
}

fn features(fields: &mut Fields<'_>, base: Features) -> Features {
    let mut read = |name, old| fields.boolean(name).unwrap_or(old);
    Features {
        video_enabled: read("video_enabled", base.video_enabled),
        audio_enabled: read("audio_enabled", base.audio_enabled),
        screen_sharing_enabled: read("screen_sharing_enabled", base.screen_sharing_enabled),
        chat_enabled: read("chat_enabled", base.chat_enabled),
        recording_enabled: read("recording_enabled", base.recording_enabled),
        breakout_rooms_enabled: read("breakout_rooms_enabled", base.breakout_rooms_enabled),
        whiteboard_enabled: read("whiteboard_enabled", base.whiteboard_enabled),
        hand_raise_enabled: read("hand_raise_enabled", base.hand_raise_enabled),
    }
}

fn recording(fields: &mut Fields<'_>, base: &RecordingConfig) -> RecordingConfig {
    let mut read = |name, old| fields.boolean(name).unwrap_or(old);
    let auto_record = read("auto_record", base.auto_record);
    let record_video = read("record_video", base.record_video);
    let record_audio = read("record_audio", base.record_audio);
    let record_chat = read("record_chat", base.record_chat);
    let storage = fields.choice("storage_location", &STORAGES).unwrap_or(&base.storage_location).to_owned();
    let days = fields.integer("retention_days", 1..=3650).and_then(|days| u32::try_from(days).ok());
    RecordingConfig {
        auto_record,
        record_video,
        record_audio,
        record_chat,
        storage_location: storage,
        retention_days: days.or(base.retention_days),
    }
}
