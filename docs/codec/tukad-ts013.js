// Tukad's payload codec for LoRa Alliance TS013 (ChirpStack, The Things Stack).
// Written by docs/codec/generate.py from protocols/payload/schema.py; do not edit.
// docs/payload.md says what the values mean. SPDX-License-Identifier: Apache-2.0

var ANSWER = [["version", 2, 0, 1, 0], ["kind", 5, 0, 1, 0], ["number", 16, 0, 1, 0], ["result", 3, 0, 1, 0], ["value", 16, 0, 1, 0]];
var BACKFILL_FLOOD = [["sequence_low", 16, 0, 1, 3], ["slot_low", 20, 0, 1, 3], ["level_mm", 14, -1024, 1, 2], ["rain_tips", 10, 0, 1, 3], ["has_rain", 1, 0, 1, 0]];
var BACKFILL_HEAD = [["version", 2, 0, 1, 0], ["kind", 2, 0, 1, 0]];
var BACKFILL_KINDS = ["flood", "track", "missing"];
var BACKFILL_MISSING = [["sequence", 30, 0, 1, 0], ["count", 20, 1, 1, 0]];
var BACKFILL_TRACK = [["sequence_low", 16, 0, 1, 3], ["slot_low", 20, 0, 1, 3], ["is_absolute", 1, 0, 1, 0]];
var COMMANDS = [["reserved", []], ["gap", [["first_sequence", 30, 0, 1, 0], ["count", 12, 1, 1, 0]]], ["thresholds", [["config_number", 6, 0, 1, 0], ["waspada_mm", 15, -16384, 1, 0], ["siaga_mm", 15, -16384, 1, 0], ["awas_mm", 15, -16384, 1, 0], ["hysteresis_mm", 10, 0, 1, 0], ["hold_s", 8, 0, 15, 0]]], ["intervals", [["config_number", 6, 0, 1, 0], ["calm", 3, 0, 1, 0], ["rising", 3, 0, 1, 0], ["stage", 3, 0, 1, 0], ["storm", 3, 0, 1, 0], ["rising_mm_10min", 10, 0, 1, 0]]], ["storm", [["until_time_s", 30, 0, 1, 0]]], ["time", [["time_s", 30, 0, 1, 0]]], ["reboot", [["delay_s", 10, 0, 1, 0], ["is_safe_mode", 1, 0, 1, 0]]], ["siren", [["pattern", 3, 0, 1, 0], ["duration_s", 10, 0, 1, 0], ["expires_time_s", 30, 0, 1, 0]]], ["silence", [["expires_time_s", 30, 0, 1, 0]]], ["sos_step", [["event_number", 8, 0, 1, 0], ["step", 3, 0, 1, 0]]], ["contract", [["error_m", 12, 0, 1, 0], ["heartbeat_s", 12, 0, 10, 0]]], ["geofence", [["fence", 4, 0, 1, 0], ["lat_e5", 25, -9000000, 1, 0], ["lon_e5", 26, -18000000, 1, 0], ["radius_m", 16, 0, 1, 0], ["is_forbidden", 1, 0, 1, 0]]], ["status", [["pages", 8, 0, 1, 0]]], ["test", [["is_audible", 1, 0, 1, 0]]], ["drill", [["until_time_s", 30, 0, 1, 0]]]];
var COMMAND_HEAD = [["version", 2, 0, 1, 0], ["kind", 5, 0, 1, 0], ["has_mac", 1, 0, 1, 0], ["number", 16, 0, 1, 0]];
var EPOCH_UNIX_S = 1577836800;
var EVENTS = [["reserved", []], ["sos", [["lat_e5", 25, -9000000, 1, 2], ["lon_e5", 26, -18000000, 1, 2], ["fix_age_s", 7, 0, 10, 2]]], ["sos_cancel", [["lat_e5", 25, -9000000, 1, 2], ["lon_e5", 26, -18000000, 1, 2], ["fix_age_s", 7, 0, 10, 2]]], ["mob", [["lat_e5", 25, -9000000, 1, 2], ["lon_e5", 26, -18000000, 1, 2], ["fix_age_s", 7, 0, 10, 2]]], ["stage", [["stage", 2, 0, 1, 0], ["previous_stage", 2, 0, 1, 0], ["level_mm", 14, -1024, 1, 2], ["rate_mm_10min", 13, -4095, 1, 2], ["is_float_switch", 1, 0, 1, 0], ["config_number", 6, 0, 1, 2]]], ["tamper", [["cause", 3, 0, 1, 0], ["battery_mv", 11, 0, 8, 2]]], ["siren", [["command_number", 16, 0, 1, 0], ["cause", 3, 0, 1, 0], ["pattern", 3, 0, 1, 0], ["duration_s", 10, 0, 1, 1], ["proof", 3, 0, 1, 0], ["current_ma", 10, 0, 10, 2]]], ["last_gasp", [["battery_mv", 11, 0, 8, 2], ["supply_mv", 10, 0, 32, 2]]], ["fault", [["faults", 16, 0, 1, 0], ["is_cleared", 1, 0, 1, 0]]], ["geofence", [["fence", 4, 0, 1, 0], ["is_inside", 1, 0, 1, 0], ["lat_e5", 25, -9000000, 1, 2], ["lon_e5", 26, -18000000, 1, 2]]]];
var EVENT_HEAD = [["version", 2, 0, 1, 0], ["kind", 5, 0, 1, 0], ["is_drill", 1, 0, 1, 0], ["number", 8, 0, 1, 3], ["time_low", 14, 0, 1, 3]];
var FLOOD_EXTENDED = [["grid", 3, 0, 1, 0], ["is_clock_unset", 1, 0, 1, 0], ["has_rain", 1, 0, 1, 0], ["has_segments", 1, 0, 1, 0]];
var FLOOD_EXTRAS = [["battery_mv", 6, 2400, 30, 2], ["temperature_c", 6, -10, 1, 2], ["quality", 6, 0, 1, 2], ["tilt_deg", 6, 0, 1, 2], ["sensor_snr_db", 6, 0, 1, 2], ["downlink_snr_db", 6, -32, 1, 2], ["config_number", 6, 0, 1, 2], ["sequence_high", 6, 0, 1, 3]];
var FLOOD_HEAD = [["version", 2, 0, 1, 0], ["stage", 2, 0, 1, 0], ["has_fault", 1, 0, 1, 0], ["sequence_low", 8, 0, 1, 3], ["grid", 3, 0, 1, 0], ["slot_low", 6, 0, 1, 3], ["level_mm", 14, -1024, 1, 2], ["rain_tips", 10, 0, 1, 3]];
var FLOOD_MODE = ["mode", 4, 0, 1, 0];
var INTERVALS_S = [10, 60, 300, 600, 900, 1800, 3600];
var LATITUDE = ["lat_e5", 25, -9000000, 1, 2];
var LEVEL = ["level_mm", 14, -1024, 1, 2];
var LEVEL_BITS = 14;
var LONGITUDE = ["lon_e5", 26, -18000000, 1, 2];
var MISSING = 16383;
var MODES = [[1, 0, 1, -1], [1, 1, 1, -1], [1, 2, 1, -1], [1, 3, 1, -1], [1, 5, 1, -1], [2, 1, 1, -1], [2, 2, 1, -1], [2, 3, 1, -1], [2, 4, 1, -1], [1, 1, 10, -1], [1, 0, 1, 0], [1, 0, 1, 8], [1, 1, 1, 4], [1, 3, 1, 0], [1, 0, 3, 0], [1, 0, 10, 0]];
var NO_HISTORY = 15;
var OPTIONAL = 2;
var PLAIN_MODES = 10;
var PORT_ANSWER = 6;
var PORT_BACKFILL = 5;
var PORT_COMMAND = 10;
var PORT_EVENT = 4;
var PORT_FLOOD = 1;
var PORT_STATUS = 3;
var PORT_TRACK = 2;
var RAIN_BITS = 10;
var READINGS_MAX = 512;
var RUN_LENGTHS = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8];
var SEQUENCE = ["sequence", 30, 0, 1, 0];
var SINES = [0, 143, 286, 429, 571, 714, 856, 998, 1140, 1282, 1423, 1563, 1703, 1843, 1982, 2120, 2258, 2395, 2531, 2667, 2802, 2936, 3069, 3201, 3332, 3462, 3591, 3719, 3846, 3972, 4096, 4219, 4341, 4462, 4581, 4699, 4815, 4930, 5043, 5155, 5266, 5374, 5482, 5587, 5691, 5793, 5893, 5991, 6088, 6183, 6275, 6366, 6455, 6542, 6627, 6710, 6791, 6870, 6947, 7022, 7094, 7165, 7233, 7299, 7363, 7424, 7484, 7541, 7595, 7648, 7698, 7746, 7791, 7834, 7875, 7913, 7949, 7982, 8013, 8041, 8068, 8091, 8112, 8131, 8147, 8161, 8172, 8181, 8187, 8191, 8192];
var SLOT_S = 10;
var STAGES = ["Normal", "Waspada", "Siaga", "Awas"];
var STATUS_HEAD = [["version", 2, 0, 1, 0], ["page", 3, 0, 1, 0], ["is_last_gasp", 1, 0, 1, 0], ["is_clock_set", 1, 0, 1, 0], ["reserved", 1, 0, 1, 0]];
var STATUS_PAGES = [[["battery_mv", 11, 0, 8, 2], ["battery_trend_mv_day", 7, -63, 1, 2], ["supply_mv", 10, 0, 32, 2], ["temperature_c", 7, -40, 1, 2], ["battery_mohm", 10, 0, 2, 2], ["sensor_snr_db", 6, 0, 1, 2], ["tilt_deg", 6, 0, 1, 2], ["faults", 16, 0, 1, 0], ["humidity_pct", 7, 0, 1, 2]], [["firmware_major", 5, 0, 1, 2], ["firmware_minor", 7, 0, 1, 2], ["firmware_patch", 8, 0, 1, 2], ["reset_reason", 4, 0, 1, 2], ["boots", 16, 0, 1, 3], ["uptime_h", 16, 0, 1, 1], ["config_number", 6, 0, 1, 2], ["role", 4, 0, 1, 2], ["board", 6, 0, 1, 2], ["crashes", 8, 0, 1, 1]], [["sequence", 30, 0, 1, 0], ["stored", 20, 0, 1, 1], ["rain_tips", 24, 0, 1, 3], ["store_errors", 6, 0, 1, 1]], [["uplinks", 20, 0, 1, 3], ["downlinks", 16, 0, 1, 3], ["joins", 10, 0, 1, 3], ["downlink_snr_db", 6, -32, 1, 2], ["downlink_rssi_dbm", 7, -140, 1, 2], ["airtime_s", 20, 0, 1, 3]], [["sensor_error", 3, 0, 1, 2], ["sensor_exception", 8, 0, 1, 2], ["sensor_silences", 16, 0, 1, 3], ["sensor_refusals", 12, 0, 1, 3], ["sensor_invalids", 16, 0, 1, 3], ["release", 24, 0, 1, 2], ["is_on_trial", 1, 0, 1, 0]]];
var TIME = ["time_s", 30, 0, 1, 0];
var TRACK_ABSOLUTE = [["lat_e5", 25, -9000000, 1, 0], ["lon_e5", 26, -18000000, 1, 0]];
var TRACK_EXTENDED = [["grid", 3, 0, 1, 0], ["is_clock_unset", 1, 0, 1, 0], ["is_drill", 1, 0, 1, 0], ["has_fault", 1, 0, 1, 0], ["has_segments", 1, 0, 1, 0]];
var TRACK_HEAD = [["version", 2, 0, 1, 0], ["state", 3, 0, 1, 0], ["is_absolute", 1, 0, 1, 0], ["sequence_low", 7, 0, 1, 3], ["grid", 3, 0, 1, 0], ["slot_low", 6, 0, 1, 3]];
var TRACK_INTERVALS_S = [10, 20, 30, 60, 120, 300, 600];
var TRACK_MODE = ["mode", 4, 0, 1, 0];
var TRACK_MODES = [[0, 2], [1, 2], [2, 2], [3, 2], [4, 2], [5, 2], [6, 2], [7, 2], [0, 4], [1, 4], [2, 4], [3, 4], [4, 4], [5, 4], [6, 4]];
var TRACK_MODULO = [["lat_low", 18, 0, 1, 3], ["lon_low", 18, 0, 1, 3]];
var TRACK_MOTION = [["sog_code", 8, 0, 1, 0], ["cog_code", 7, 0, 1, 0]];
var VERSION = 0;
var VERSION_FIELD = ["version", 2, 0, 1, 0];

// ---- the reading machinery (docs/codec/runtime.js) ----

function RemoteError(code, detail) {
  this.code = code;
  this.detail = detail;
}

function fail(code, detail) {
  throw new RemoteError(code, detail);
}

function floorDiv(a, b) {
  return Math.floor(a / b);
}

function mod(a, b) {
  return ((a % b) + b) % b;
}

function Reader(bytes) {
  this.bytes = bytes;
  this.position = 0;
  this.left = bytes.length * 8;
}

Reader.prototype.get = function (bits) {
  if (bits > this.left) {
    fail("length", bits + " bits wanted, " + this.left + " left");
  }
  var value = 0;
  for (var i = 0; i < bits; i++) {
    var bit = (this.bytes[this.position >> 3] >> (7 - (this.position & 7))) & 1;
    value = value * 2 + bit;
    this.position++;
  }
  this.left -= bits;
  return value;
};

Reader.prototype.expectEnd = function (fill) {
  if (this.left > 7) {
    fail("length", this.left + " bits too many");
  }
  var spare = this.left;
  if (this.get(spare) !== (fill ? (1 << spare) - 1 : 0)) {
    fail("value", "the padding is not " + fill);
  }
};

// A field is [name, bits, low, step, rule].
function getField(reader, field) {
  var raw = reader.get(field[1]);
  if (field[4] === OPTIONAL && raw === Math.pow(2, field[1]) - 1) {
    return null;
  }
  return raw * field[3] + field[2];
}

function getFields(reader, layout, values) {
  for (var i = 0; i < layout.length; i++) {
    var value = getField(reader, layout[i]);
    if (layout[i][0] !== "version") {
      values[layout[i][0]] = value;
    } else if (value !== VERSION) {
      fail("version", "payload version " + value + ", known is " + VERSION);
    }
  }
  return values;
}

function nearest(low, modulus, reference) {
  var half = modulus / 2;
  return reference + mod(low - reference + half - 1, modulus) - half + 1;
}

function slotBefore(low, gridS, slots, receivedS) {
  var ahead = Math.min(120, 8 * gridS);
  var index = floorDiv(receivedS + ahead, gridS);
  return (index - mod(index - low, slots)) * gridS;
}

function isoTime(timeS) {
  return new Date((timeS + EPOCH_UNIX_S) * 1000).toISOString();
}

// ---- spacings ----

function getSegments(reader, intervalsS) {
  var segments = [];
  for (;;) {
    var another = reader.get(1);
    var index = reader.get(3);
    var slots = index === 7 ? reader.get(14) : intervalsS[index] / SLOT_S;
    if (!slots) {
      fail("value", "a spacing of 0 s");
    }
    if (!another) {
      segments.push([0, slots]);
      return segments;
    }
    var zeros = 0;
    while (!reader.get(1)) {
      zeros++;
      if (zeros > 9) {
        fail("value", "a segment of more than 1,023 readings");
      }
    }
    segments.push([(1 << zeros) | reader.get(zeros), slots]);
  }
}

function readingTimes(timeS, count, segments, intervalS) {
  var times = [timeS];
  var list = segments.length ? segments : [[0, intervalS / SLOT_S]];
  for (var i = 0; i < list.length; i++) {
    var steps = list[i][0];
    while (times.length <= count) {
      timeS -= list[i][1] * SLOT_S;
      times.push(timeS);
      if (steps) {
        steps--;
        if (!steps) {
          break;
        }
      }
    }
  }
  return times;
}

// ---- histories ----

function getRice(reader, k, rawBits) {
  var quotient = 0;
  while (reader.get(1)) {
    quotient++;
    if (quotient === 8) {
      return -1 - reader.get(rawBits);
    }
  }
  return (quotient << k) | reader.get(k);
}

function unzigzag(u) {
  return u & 1 ? -1 - (u >> 1) : u >> 1;
}

function checkCount(list) {
  if (list.length > READINGS_MAX) {
    fail("value", "more than " + READINGS_MAX + " readings in one frame");
  }
}

// Calls `step` until the reader ends inside a code, then checks that only padding is left.
function untilEnd(reader, step) {
  for (;;) {
    var position = reader.position;
    var left = reader.left;
    var done;
    try {
      done = step();
    } catch (error) {
      if (!(error instanceof RemoteError) || error.code !== "length") {
        throw error;
      }
      reader.position = position;
      reader.left = left;
      reader.expectEnd(1);
      return;
    }
    done();
  }
}

function decodeLevels(reader, mode, newest, rain) {
  var order = MODES[mode][0];
  var k = MODES[mode][1];
  var stepMm = MODES[mode][2];
  var state = MODES[mode][3];
  var levels = [];
  var rains = [];
  var last = newest === MISSING ? 0 : newest;
  var slope = 0;

  function repeat(count) {
    for (var i = 0; i < count; i++) {
      levels.push(last);
    }
    checkCount(levels);
  }

  function place(u) {
    var raw;
    if (u < 0) {
      raw = -1 - u;
    } else {
      raw = last + unzigzag(u) * stepMm + (order === 2 ? slope : 0);
      if (raw < 0 || raw >= MISSING) {
        fail("value", "level " + raw + " is out of range");
      }
    }
    levels.push(raw);
    checkCount(levels);
    if (raw === MISSING) {
      slope = 0;
    } else {
      slope = raw - last;
      last = raw;
    }
  }

  untilEnd(reader, function () {
    if (state >= 0) {
      var width = RUN_LENGTHS[state];
      if (!reader.get(1)) {
        return function () {
          repeat(1 << width);
          state = Math.min(state + 1, RUN_LENGTHS.length - 1);
        };
      }
      var run = reader.get(width);
      var code = getRice(reader, k, LEVEL_BITS);
      return function () {
        repeat(run);
        state = Math.max(state - 1, 0);
        place(code >= 0 ? code + 1 : code);
      };
    }
    var u = getRice(reader, k, LEVEL_BITS);
    var tips = rain === null ? 0 : getRice(reader, 0, RAIN_BITS);
    return function () {
      if (rain !== null) {
        rain = mod(rain - (tips >= 0 ? tips : -1 - tips), 1024);
        rains.push(rain);
      }
      place(u);
    };
  });
  return { levels: levels, rains: rains };
}

// ---- dead reckoning ----

function sine(degrees) {
  degrees = mod(degrees, 360);
  if (degrees >= 180) {
    return -sine(degrees - 180);
  }
  return degrees <= 90 ? SINES[degrees] : SINES[180 - degrees];
}

function cosineOfLatitude(lat) {
  lat = Math.min(Math.abs(lat), 8899999);
  var degree = floorDiv(lat, 100000);
  var here = SINES[90 - degree];
  return here - floorDiv((here - SINES[89 - degree]) * (lat % 100000), 100000);
}

function wrapLon(lon) {
  return mod(lon + 18000000, 36000000) - 18000000;
}

function sogOfCode(code) {
  if (code === 255) {
    return null;
  }
  return code <= 200 ? code : 200 + (code - 200) * 5;
}

function cogOfCode(code) {
  return code < 120 ? code * 3 : null;
}

function predict(lat, lon, sog, cog, elapsedS) {
  if (sog === null || cog === null) {
    return [lat, lon];
  }
  elapsedS = Math.min(Math.max(elapsedS, -3600), 3600);
  var way = floorDiv(sog * elapsedS * 61 + 660, 1320);
  var north = floorDiv(way * sine(cog + 90) + 4096, 8192);
  var east = floorDiv(way * sine(cog) + 4096, 8192);
  return [
    Math.min(Math.max(lat + north, -9000000), 9000000),
    wrapLon(lon + floorDiv(east * 8192, cosineOfLatitude(lat))),
  ];
}

function decodePositions(reader, lat, lon, sogCode, cogCode, spacingS) {
  var mode = reader.left >= 4 ? reader.get(4) : NO_HISTORY;
  var older = [];
  if (mode === NO_HISTORY) {
    reader.expectEnd(1);
    return { older: older, resolution: 1 };
  }
  var k = TRACK_MODES[mode][0];
  var shift = TRACK_MODES[mode][1];
  var size = 1 << shift;
  var half = size >> 1;
  var guess = predict(lat, lon, sogOfCode(sogCode), cogOfCode(cogCode), -spacingS);

  function place(code, at) {
    at = floorDiv(at + half, size);
    return code < 0 ? nearest(-1 - code, 262144, at) : at + unzigzag(code);
  }

  untilEnd(reader, function () {
    var latCode = getRice(reader, k, 18);
    var lonCode = getRice(reader, k, 18);
    return function () {
      var newLat = place(latCode, guess[0]) * size;
      var newLon = wrapLon(place(lonCode, guess[1]) * size);
      if (newLat < -9000004 || newLat > 9000008) {
        fail("value", "latitude " + newLat);
      }
      older.push([newLat, newLon]);
      guess = [2 * newLat - lat, newLon + wrapLon(newLon - lon)];
      lat = newLat;
      lon = newLon;
    };
  });
  return { older: older, resolution: size };
}

// ---- payloads ----

// The newest first; sequences count down by one. Without a reception time only ages are known.
function addReading(list, reading, sequenceLow, modulus, timeS, newestS, hasTime) {
  reading.sequence_low = mod(sequenceLow, modulus);
  reading.age_s = newestS - timeS;
  if (hasTime) {
    reading.time_s = timeS;
    reading.time = isoTime(timeS);
  }
  list.push(reading);
}

function level(raw) {
  return raw === MISSING ? null : raw - 1024;
}

function newestTime(slotLow, gridS, isClockSet, receivedS) {
  if (receivedS === null) {
    return 0;
  }
  return isClockSet ? slotBefore(slotLow, gridS, 64, receivedS) : floorDiv(receivedS, 10) * 10;
}

function decodeFlood(bytes, receivedS) {
  if (bytes.length < 7) {
    fail("length", bytes.length + " B are below 7 B");
  }
  var reader = new Reader(bytes);
  var head = getFields(reader, FLOOD_HEAD, {});
  var raw = head.level_mm === null ? MISSING : head.level_mm + 1024;
  var extended = { is_clock_unset: 0, has_rain: 0, has_segments: 0 };
  var segments = [];
  var grid = head.grid;
  if (grid === 7) {
    getFields(reader, FLOOD_EXTENDED, extended);
    grid = extended.grid;
    if (grid === 7) {
      fail("value", "grid 7 inside the extended head");
    }
    if (extended.has_segments) {
      segments = getSegments(reader, INTERVALS_S);
    }
  }
  var data = {
    type: "flood",
    stage: head.stage,
    stage_name: STAGES[head.stage],
    has_fault: head.has_fault === 1,
    is_clock_set: !extended.is_clock_unset,
    interval_s: INTERVALS_S[grid],
    extras: {},
    readings: [],
  };
  var low = head.sequence_low;
  var modulus = 256;
  while (reader.get(1)) {
    var field = FLOOD_EXTRAS[reader.get(3)];
    var value = getField(reader, field);
    if (field[0] === "sequence_high") {
      low += value * 256;
      modulus = 16384;
    } else {
      data.extras[field[0]] = value;
    }
  }
  data.sequence_modulus = modulus;
  var mode = reader.get(4);
  if (extended.has_rain && mode >= PLAIN_MODES) {
    fail("value", "mode " + mode + " with rain");
  }
  var history = decodeLevels(reader, mode, raw, extended.has_rain ? head.rain_tips : null);
  var newestS = newestTime(head.slot_low, data.interval_s, data.is_clock_set, receivedS);
  var times = readingTimes(newestS, history.levels.length, segments, data.interval_s);
  var first = { level_mm: head.level_mm, rain_tips: head.rain_tips };
  addReading(data.readings, first, low, modulus, newestS, newestS, receivedS !== null);
  for (var i = 0; i < history.levels.length; i++) {
    var reading = {
      level_mm: level(history.levels[i]),
      rain_tips: extended.has_rain ? history.rains[i] : null,
    };
    addReading(
      data.readings, reading, low - 1 - i, modulus, times[i + 1], newestS, receivedS !== null
    );
  }
  return data;
}

function getPosition(reader, isAbsolute) {
  if (!isAbsolute) {
    return getFields(reader, TRACK_MODULO, {});
  }
  var position = getFields(reader, TRACK_ABSOLUTE, {});
  if (position.lon_e5 > 18000000) {
    fail("value", "longitude " + position.lon_e5);
  }
  if (position.lat_e5 > 9000000) {
    fail("value", "latitude " + position.lat_e5);
  }
  return position;
}

// A modulo position means nothing without the last known one, which this stateless codec has not:
// it reports the low bits, and no older positions.
function decodeTrack(bytes, receivedS) {
  if (bytes.length < 10) {
    fail("length", bytes.length + " B are below 10 B");
  }
  var reader = new Reader(bytes);
  var head = getFields(reader, TRACK_HEAD, {});
  var extended = { is_clock_unset: 0, is_drill: 0, has_fault: 0, has_segments: 0 };
  var grid = head.grid;
  var segments = [];
  if (grid === 7) {
    getFields(reader, TRACK_EXTENDED, extended);
    grid = extended.grid;
    if (grid === 7) {
      fail("value", "grid 7 inside the extended head");
    }
    if (extended.has_segments) {
      segments = getSegments(reader, TRACK_INTERVALS_S);
    }
  }
  var data = {
    type: "track",
    state: head.state,
    is_absolute: head.is_absolute === 1,
    is_drill: extended.is_drill === 1,
    has_fault: extended.has_fault === 1,
    is_clock_set: !extended.is_clock_unset,
    interval_s: TRACK_INTERVALS_S[grid],
    sequence_modulus: 128,
    readings: [],
  };
  var newest = getPosition(reader, head.is_absolute);
  var sogCode = reader.get(8);
  var cogCode = reader.get(7);
  if (cogCode >= 120 && cogCode < 127) {
    fail("value", "course code " + cogCode);
  }
  newest.sog_dkn = sogOfCode(sogCode);
  newest.cog_deg = cogOfCode(cogCode);
  newest.resolution_e5 = 1;
  var newestS = newestTime(head.slot_low, data.interval_s, data.is_clock_set, receivedS);
  var low = head.sequence_low;
  addReading(data.readings, newest, low, 128, newestS, newestS, receivedS !== null);
  if (!data.is_absolute) {
    return data;
  }
  var spacingS = segments.length ? segments[0][1] * SLOT_S : data.interval_s;
  var history = decodePositions(
    reader, newest.lat_e5, newest.lon_e5, sogCode, cogCode, spacingS
  );
  var times = readingTimes(newestS, history.older.length, segments, data.interval_s);
  for (var i = 0; i < history.older.length; i++) {
    var fix = {
      lat_e5: history.older[i][0],
      lon_e5: history.older[i][1],
      sog_dkn: null,
      cog_deg: null,
      resolution_e5: history.resolution,
    };
    addReading(
      data.readings, fix, low - 1 - i, 128, times[i + 1], newestS, receivedS !== null
    );
  }
  return data;
}

function decodeStatus(bytes) {
  var reader = new Reader(bytes);
  var data = { type: "status", pages: 0 };
  do {
    var head = getFields(reader, STATUS_HEAD, {});
    if (head.page >= STATUS_PAGES.length || data.pages & (1 << head.page) || head.reserved) {
      fail("value", "page " + head.page + " is unknown or there twice");
    }
    data.pages |= 1 << head.page;
    data.is_last_gasp = head.is_last_gasp;
    data.is_clock_set = head.is_clock_set;
    getFields(reader, STATUS_PAGES[head.page], data);
    if (reader.get(reader.left & 7)) {
      fail("value", "the padding is not 0");
    }
  } while (reader.left);
  return data;
}

function checkPosition(values) {
  if (values.lat_e5 === undefined) {
    return;
  }
  if ((values.lat_e5 === null) !== (values.lon_e5 === null)) {
    fail("value", "half a position");
  }
  if (values.lat_e5 > 9000000 || values.lon_e5 > 18000000) {
    fail("value", "not on the globe");
  }
}

function decodeEvent(bytes, receivedS) {
  var reader = new Reader(bytes);
  var data = getFields(reader, EVENT_HEAD, {});
  if (data.kind === 0 || data.kind >= EVENTS.length) {
    fail("kind", "there is no event " + data.kind);
  }
  data.type = "event";
  data.event = EVENTS[data.kind][0];
  if (data.time_low === 16383) {
    data.time_s = null; // the device's clock was never set
  } else if (receivedS !== null) {
    data.time_s = nearest(data.time_low, 16384, receivedS);
    data.time = isoTime(data.time_s);
  }
  getFields(reader, EVENTS[data.kind][1], data);
  reader.expectEnd(0);
  checkPosition(data);
  return data;
}

function decodeBackfill(bytes, receivedS) {
  var reader = new Reader(bytes);
  var head = getFields(reader, BACKFILL_HEAD, {});
  if (head.kind >= BACKFILL_KINDS.length) {
    fail("value", "back-fill kind " + head.kind);
  }
  var data = { type: "backfill", kind: BACKFILL_KINDS[head.kind], readings: [] };
  if (data.kind === "missing") {
    getFields(reader, BACKFILL_MISSING, data);
    reader.expectEnd(1);
    return data;
  }
  var isFlood = data.kind === "flood";
  var fields = getFields(reader, isFlood ? BACKFILL_FLOOD : BACKFILL_TRACK, {});
  var slots = 1048576;
  var slot = 0;
  if (receivedS !== null) {
    slot = floorDiv(receivedS + 120, SLOT_S);
    slot -= mod(slot - fields.slot_low, slots);
  }
  var newestS = slot * SLOT_S;
  data.sequence_modulus = 65536;
  var low = fields.sequence_low;
  var hasTime = receivedS !== null;
  var times;
  var i;
  if (!isFlood) {
    var newest = getPosition(reader, fields.is_absolute);
    newest.resolution_e5 = 1;
    addReading(data.readings, newest, low, 65536, newestS, newestS, hasTime);
    if (!fields.is_absolute) {
      return data;
    }
    var trackSegments = getSegments(reader, TRACK_INTERVALS_S);
    var track = decodePositions(reader, newest.lat_e5, newest.lon_e5, 255, 127, 0);
    times = readingTimes(newestS, track.older.length, trackSegments, 0);
    for (i = 0; i < track.older.length; i++) {
      var fix = {
        lat_e5: track.older[i][0],
        lon_e5: track.older[i][1],
        resolution_e5: track.resolution,
      };
      addReading(data.readings, fix, low - 1 - i, 65536, times[i + 1], newestS, hasTime);
    }
    return data;
  }
  var raw = fields.level_mm === null ? MISSING : fields.level_mm + 1024;
  var segments = getSegments(reader, INTERVALS_S);
  var mode = reader.get(4);
  if (fields.has_rain && mode >= PLAIN_MODES) {
    fail("value", "mode " + mode + " with rain");
  }
  var history = decodeLevels(reader, mode, raw, fields.has_rain ? fields.rain_tips : null);
  times = readingTimes(newestS, history.levels.length, segments, 0);
  var first = { level_mm: fields.level_mm, rain_tips: fields.rain_tips };
  addReading(data.readings, first, low, 65536, newestS, newestS, hasTime);
  for (i = 0; i < history.levels.length; i++) {
    var reading = {
      level_mm: level(history.levels[i]),
      rain_tips: fields.has_rain ? history.rains[i] : fields.rain_tips,
    };
    addReading(data.readings, reading, low - 1 - i, 65536, times[i + 1], newestS, hasTime);
  }
  return data;
}

function decodeAnswer(bytes) {
  var reader = new Reader(bytes);
  var data = getFields(reader, ANSWER, {});
  reader.expectEnd(0);
  data.type = "answer";
  return data;
}

function decodeCommand(bytes) {
  var reader = new Reader(bytes);
  var head = getFields(reader, COMMAND_HEAD, {});
  if (head.kind === 0 || head.kind >= COMMANDS.length) {
    fail("kind", "there is no command " + head.kind);
  }
  if (head.has_mac) {
    reader = new Reader(bytes.slice(0, bytes.length - 4));
    getFields(reader, COMMAND_HEAD, {});
  }
  var values = getFields(reader, COMMANDS[head.kind][1], {});
  reader.expectEnd(0);
  return {
    type: "command",
    command: COMMANDS[head.kind][0],
    number: head.number,
    has_mac: head.has_mac === 1,
    values: values,
  };
}

function encodeCommand(data) {
  var kind = 0;
  for (var i = 1; i < COMMANDS.length; i++) {
    if (COMMANDS[i][0] === data.command) {
      kind = i;
    }
  }
  if (!kind) {
    fail("kind", "there is no command " + data.command);
  }
  var bits = [];
  function put(field, value) {
    var raw = (value - field[2]) / field[3];
    if (!(raw >= 0 && raw < Math.pow(2, field[1]) && raw === Math.floor(raw))) {
      fail("range", field[0] + " = " + value);
    }
    for (var at = field[1] - 1; at >= 0; at--) {
      bits.push(Math.floor(raw / Math.pow(2, at)) % 2);
    }
  }
  var head = { version: VERSION, kind: kind, has_mac: 0, number: data.number };
  var j;
  for (j = 0; j < COMMAND_HEAD.length; j++) {
    put(COMMAND_HEAD[j], head[COMMAND_HEAD[j][0]]);
  }
  var layout = COMMANDS[kind][1];
  for (j = 0; j < layout.length; j++) {
    put(layout[j], (data.values || {})[layout[j][0]]);
  }
  var bytes = [];
  for (j = 0; j < bits.length; j += 8) {
    var byte = 0;
    for (var b = 0; b < 8; b++) {
      byte = byte * 2 + (bits[j + b] || 0);
    }
    bytes.push(byte);
  }
  return bytes;
}

function guarded(call) {
  try {
    return { data: call() };
  } catch (error) {
    if (error instanceof RemoteError) {
      return { errors: [error.code + ": " + error.detail] };
    }
    throw error;
  }
}

function receivedSeconds(input) {
  if (input.recvTime === undefined || input.recvTime === null) {
    return null;
  }
  var ms = new Date(input.recvTime).getTime();
  return isNaN(ms) ? null : floorDiv(ms, 1000) - EPOCH_UNIX_S;
}

// ---- TS013 (LoRa Alliance TS013-1.0.0) ----

function decodeUplink(input) {
  return guarded(function () {
    var receivedS = receivedSeconds(input);
    switch (input.fPort) {
      case PORT_FLOOD:
        return decodeFlood(input.bytes, receivedS);
      case PORT_TRACK:
        return decodeTrack(input.bytes, receivedS);
      case PORT_STATUS:
        return decodeStatus(input.bytes);
      case PORT_EVENT:
        return decodeEvent(input.bytes, receivedS);
      case PORT_BACKFILL:
        return decodeBackfill(input.bytes, receivedS);
      case PORT_ANSWER:
        return decodeAnswer(input.bytes);
      default:
        return fail("port", "port " + input.fPort + " is not ours");
    }
  });
}

function decodeDownlink(input) {
  return guarded(function () {
    if (input.fPort !== PORT_COMMAND) {
      fail("port", "port " + input.fPort + " is not ours");
    }
    return decodeCommand(input.bytes);
  });
}

// input.data = {command: "storm", number: 7, values: {until_time_s: 0}}
function encodeDownlink(input) {
  var result = guarded(function () {
    return encodeCommand(input.data);
  });
  return result.errors ? result : { fPort: PORT_COMMAND, bytes: result.data };
}
