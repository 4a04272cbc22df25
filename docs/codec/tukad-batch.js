// Decoder for Tukad's batches (docs/batch-format.md) for Node.js and Node-RED: no dependencies.
//
//   const { Decoder } = require("./tukad-batch.js");
//   const decoder = new Decoder(fs.readFileSync("prior_1.bin"));   // from gateway/codec/
//   decoder.catalogue(payloadOfCatalogueTopic);
//   for (const row of decoder.batch(payloadOfBatchTopic)) { ... }
//
// A row is {device, stream, sequence, time_ms, quality, time_source, values: {name: number}}.
// Numbers are exact below 2**46. Throws an Error that says what is missing or damaged.
"use strict";
const zlib = require("zlib");

const SOURCES = ["gnss", "network", "ntp", "estimated", "unknown"];
const KINDS = ["value", "level", "rain", "counter", "battery", "radio", "lat", "lon", "speed", "course"];
const PRIOR_KINDS = [...KINDS, ...KINDS.map((k) => "first_" + k), "head", "row", "steps", "offset_s",
  "offset_ms", "sequence", "first", "first_offset", "meta"];
const P = [28, 47, 77, 126, 208, 342, 562, 922, 1506, 2446, 3938, 6249, 9702, 14595, 21025, 28693, 36843,
  44511, 50941, 55834, 59287, 61598, 63090, 64030, 64614, 64974, 65194, 65328, 65410, 65459, 65489, 65508];
const N = [0, 1, 2, 4, 8, 16, 32, 64];
const BLOCK = 250, SIGN = 90, BIN = 144, TOP = 224, ABSENT = 248;
const RATE = Array.from({ length: 91 }, (_, n) => Math.floor(65536 / (n + 1.6)));
const SINE = Array.from({ length: 91 }, (_, d) => BigInt(Math.round(Math.sin(d * Math.PI / 180) * 32768)));

const bits = (x) => (x < 2 ** 31 ? 32 - Math.clz32(x) : 1 + bits(Math.floor(x / 2)));
const shift = (x, n) => Math.floor(x / 2 ** n);
const nearest = (a, b) => Math.floor((2 * a + b) / (2 * b));
const div = (a, b) => { const q = a / b; return a % b !== 0n && (a < 0n) !== (b < 0n) ? q - 1n : q; };
const mod = (a, m) => ((a % m) + m) % m;
const unfold = (x) => (x % 2 ? -(x + 1) / 2 : x / 2);

const CRC = Uint32Array.from({ length: 256 }, (_, i) => {
  for (let k = 0; k < 8; k++) i = i & 1 ? (i >>> 1) ^ 0x82f63b78 : i >>> 1;
  return i;
});
function crc32c(data, seed = 0) {
  let crc = ~seed;
  for (const byte of data) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

class Coder {
  constructor(data) {
    this.data = data;
    this.at = 6;
    this.code = 0;
    for (let i = 0; i < 6; i++) this.code = this.code * 256 + (data[i] || 0);
    this.size = 15 * 2 ** 44;
    this.p = [];
    this.n = [];
  }
  refill() {
    while (this.size < 2 ** 32) {
      this.code = this.code * 65536 + (this.data[this.at] || 0) * 256 + (this.data[this.at + 1] || 0);
      this.at += 2;
      this.size *= 65536;
    }
  }
  bit(i) {
    const p = this.p[i], n = this.n[i], bound = Math.floor(this.size / 65536) * p;
    const one = this.code < bound;
    if (one) {
      this.size = bound;
      this.p[i] = p + Math.floor((65512 - p) * RATE[n] / 65536);
    } else {
      this.code -= bound;
      this.size -= bound;
      this.p[i] = p - Math.floor((p - 24) * RATE[n] / 65536);
    }
    if (n < 90) this.n[i] = n + 1;
    this.refill();
    return one ? 1 : 0;
  }
  raw(w) {
    this.size = shift(this.size, w);
    const v = Math.min(Math.floor(this.code / this.size), 2 ** w - 1);
    this.code -= v * this.size;
    this.refill();
    return v;
  }
  number(base, scale) {
    const row = base + BIN + 10 * scale;
    let k = 0;
    while (this.bit(row + Math.min(Math.max(scale < 7 ? k + 3 - scale : k - 4, 0), 9))) {
      if (++k > 68) throw new Error("structure: a number too long");
    }
    if (k === 0) return 0;
    const top = base + TOP + 3 * Math.min(k, 7);
    let bit = this.bit(top), v = 2 + bit;
    if (k === 1) return v - 1;
    v = v * 2 + this.bit(top + 1 + bit);
    for (k -= 2; k > 0; ) {
      const w = k > 16 ? 16 : k;
      v = v * 2 ** w + this.raw(w);
      k -= w;
    }
    return v - 1;
  }
  signed(base, c, scale) {
    if (!this.bit(base + 9 * c)) return 0;
    const negative = this.bit(base + SIGN + c);
    const x = this.number(base, scale) + 1;
    return negative ? -x : x;
  }
}

class Column {
  constructor(base, decay = 4) {
    Object.assign(this, { base, decay, present: false, stepped: true, modulus: 0, near: -1, hint: null,
      pairs: null, r1: 0 });
  }
  start(v) {
    Object.assign(this, { present: true, v1: v, mean: 16 * v, long: 16 * v, slope: 0, size: 0, r1: 0, r2: 0,
      last: 0, eMean: 0, eTrend: 0, eLong: 0, eHint: 0 });
  }
  clone() {
    const twin = Object.assign(new Column(this.base, this.decay), this);
    if (this.pairs) twin.pairs = new Map(this.pairs);
    return twin;
  }
  expect() {
    let e = this.last;
    if (!e) return this.v1;
    let best = 16 * this.v1;
    if (this.eMean < e) { e = this.eMean; best = this.mean; }
    if (this.eTrend < e) { e = this.eTrend; best = 16 * this.v1 + this.slope; }
    if (this.eLong < e) { e = this.eLong; best = this.long; }
    if (this.hint !== null && this.eHint < e) return this.hint;
    return shift(best + 8, 4);
  }
  learn(value, r) {
    const d = value - this.v1, s = this.decay;
    if (d || this.last) {
      const mean = 16 * value - this.mean, long = 16 * value - this.long;
      this.last += 16 * Math.abs(d) - shift(this.last, s);
      this.eMean += Math.abs(mean) - shift(this.eMean, s);
      this.eLong += Math.abs(long) - shift(this.eLong, s);
      this.eTrend += Math.abs(16 * d - this.slope) - shift(this.eTrend, s);
      this.slope += shift((16 * d - this.slope) * 5, 4);
      this.mean += shift(mean, 2);
      this.long += shift(long, 4);
      this.v1 = value;
    }
    if (this.hint !== null) this.eHint += 16 * Math.abs(value - this.hint) - shift(this.eHint, s);
    const x = 16 * Math.abs(r), a = this.size;
    if (x > a) this.size = a + shift(Math.min(x, 4 * a + 512) - a, 2);
    else this.size = a - shift(a - x + 3, 2);
    this.r2 = this.r1;
    this.r1 = r;
  }
  value(coder, left) {
    const expected = this.expect(), base = this.base;
    const size = this.near < 0 ? this.size : shift(this.size + this.near, 1), q = bits(size);
    let r = 0, seen = 0;
    if (coder.bit(base + 9 * Math.min(q, 9) + 3 * ((left + 1) >> 1) + (this.r1 !== 0) + (this.r2 !== 0))) {
      const lean = 64 * (this.v1 - expected);
      const sign = (lean > size ? 18 : lean < -size ? 36 : 0) + [0, 6, 12, 6, 12][left] + (this.r1 === 0 ? 0 : this.r1 > 0 ? 2 : 4) + (q > 5);
      const negative = coder.bit(base + SIGN + sign);
      const m = coder.number(base, Math.min(Math.max(q - 4, 0), 6)) + 1;
      seen = (16 * m <= size ? 1 : 3) + negative;
      r = negative ? -m : m;
    }
    this.learn(expected + r, r);
    return [this.modulus ? mod(expected + r, this.modulus) : expected + r, seen];
  }
}

function sine(x, u) {
  x = ((x % (360n * u)) + 360n * u) % (360n * u);
  let sign = 1n;
  if (x >= 180n * u) { x -= 180n * u; sign = -1n; }
  if (x > 90n * u) x = 180n * u - x;
  const d = Number(x / u), part = x % u;
  return sign * (SINE[d] + (part ? (SINE[d + 1] - SINE[d]) * part / u : 0n));
}

function isqrt(n) {
  let x = BigInt(Math.floor(Math.sqrt(Number(n))));
  while (x * x > n) x--;
  while ((x + 1n) * (x + 1n) <= n) x++;
  return x;
}

class Motion {
  constructor(device) {
    const at = (kind) => device.channels.findIndex((c) => c.kind === kind);
    Object.assign(this, { lat: at("lat"), lon: at("lon"), speed: at("speed"), course: at("course"),
      ready: false, moving: false, dt: 0n, refined: false, errors: [0n, 0n, 0n] });
    const ten = (i) => 10n ** BigInt(i < 0 ? 0 : device.channels[i].decimals);
    const unit = this.speed < 0 ? "kn" : device.channels[this.speed].unit;
    this.u = ten(this.course);
    this.pos = ten(this.lat);
    this.up = BigInt({ kn: 1852, "km/h": 1000, "m/s": 3600 }[unit] || 1852) * this.pos;
    this.down = ten(this.speed) * 3600000n * 111120n * 32768n;
  }
  static fits(device) {
    const of = (kind) => device.channels.filter((c) => c.kind === kind);
    const lat = of("lat"), lon = of("lon");
    return lat.length === 1 && lon.length === 1 && lat[0].decimals === lon[0].decimals;
  }
  clone() { return Object.assign(Object.create(Motion.prototype), this); }
  guess(values, ms) {
    const take = (i) => (i < 0 || values[i] === null ? null : BigInt(values[i]));
    const speed = take(this.speed), course = take(this.course);
    let cos = sine(this.lat0 + 90n * this.pos, this.pos), a = 0n, o = 0n;
    if (cos < 300n) cos = 300n;
    const north = course === null ? 0n : sine(course + 90n * this.u, this.u);
    const east = course === null ? 0n : sine(course, this.u);
    if (course !== null && speed !== null) {
      const n = speed * north, e = speed * east;
      const nn = this.moving ? this.n0 + n : 2n * n, ee = this.moving ? this.e0 + e : 2n * e;
      Object.assign(this, { n0: n, e0: e, moving: true });
      a = div(nn * ms * this.up, 2n * this.down);
      o = div(ee * ms * this.up * 32768n, 2n * this.down * cos);
    } else {
      this.moving = false;
      if (this.dt > 0n) {
        a = div(this.dlat * ms, this.dt);
        o = div(this.dlon * ms, this.dt);
        if (course !== null) {
          const far = isqrt(a * a + div(o * cos, 32768n) ** 2n);
          a = div(a + div(far * north, 32768n), 2n);
          o = div(o + div(far * east, cos), 2n);
        }
      }
    }
    this.gLat = this.lat0 + a;
    this.gLon = this.lon0 + o;
  }
  refine(lat) {
    const abs = (x) => (x < 0n ? -x : x), a = this.gLat - this.lat0, o = this.gLon - this.lon0;
    this.refined = 2n * abs(a) >= abs(o) && abs(a) >= 8n;
    if (!this.refined) return;
    let ratio = div((BigInt(lat) - this.lat0) * 256n, a);
    ratio = ratio < 0n ? 0n : ratio > 512n ? 512n : ratio;
    const plain = this.gLon, full = this.lon0 + ((o * ratio) >> 8n);
    this.ways = [plain, (plain + full) >> 1n, full];
    const [p, h, f] = this.errors;
    if (h <= p && h <= f) this.gLon = this.ways[1];
    else if (f <= p) this.gLon = full;
  }
  learn(values, ms) {
    const lat = values[this.lat], lon = values[this.lon];
    if (this.refined && lon !== null) {
      this.errors = this.errors.map((e, i) => {
        const wrong = BigInt(lon) - this.ways[i];
        return e + (wrong < 0n ? -wrong : wrong) * 16n - (e >> 3n);
      });
    }
    this.refined = false;
    if (lat === null || lon === null) {
      Object.assign(this, { ready: false, moving: false, dt: 0n });
      return;
    }
    const a = BigInt(lat), o = BigInt(lon);
    if (this.ready && ms > 0n) Object.assign(this, { dlat: a - this.lat0, dlon: o - this.lon0, dt: ms });
    else this.dt = 0n;
    Object.assign(this, { lat0: a, lon0: o, ready: true });
  }
}

// What a catalogue's device means, worked out once.
function prepare(device) {
  const order = device.channels.map((_, i) => i), kind = (i) => device.channels[i].kind;
  device.order = [
    ...order.filter((i) => !["lat", "lon"].includes(kind(i))),
    ...order.filter((i) => kind(i) === "lat"), ...order.filter((i) => kind(i) === "lon"),
  ];
  device.layout = JSON.stringify(device.channels.map((c) => [c.name, c.unit, c.decimals, c.kind]));
  device.meta = device.quality * 8 + SOURCES.indexOf(device.time_source);
  for (const c of device.channels) {
    const s = BigInt(c.step_micro), circle = 360n * 10n ** BigInt(c.decimals) * 1000000n;
    c.modulus = c.kind === "course" && circle % s === 0n ? Number(circle / s) : 0;
    c.plain = s === 1000000n && !c.modulus;
    c.toCount = (v) => Number(div(2n * BigInt(v) * 1000000n + s, 2n * s));
    c.toValue = (k) => Number(div(2n * BigInt(k) * s + 1000000n, 2000000n));
    c.guess = c.typical === null ? null : c.toCount(c.typical);
    c.scale = c.spread === null ? 5 : bits(Number(BigInt(c.spread) * 1000000n / s));
  }
  return device;
}

class Decoder {
  constructor(prior) {
    const table = zlib.inflateSync(prior);
    this.priors = {};
    PRIOR_KINDS.forEach((kind, i) => { this.priors[kind] = table.subarray(i * BLOCK, (i + 1) * BLOCK); });
    this.catalogues = [];
    this.references = [];
  }

  catalogue(payload) {
    const bytes = Buffer.from(payload), body = JSON.parse(bytes.toString("utf8"));
    if (body.tukad_catalogue !== 2) throw new Error("version: not a catalogue of format 2");
    body.fingerprint = crc32c(bytes);
    body.devices.forEach(prepare);
    this.catalogues = [body, ...this.catalogues.filter((c) => c.fingerprint !== body.fingerprint)].slice(0, 8);
  }

  batch(payload) {
    const data = Buffer.from(payload);
    if (data.length < 5) throw new Error("truncated");
    const body = data.subarray(0, -4), check = data.readUInt32BE(data.length - 4);
    if (body[0] > 0xf0) throw new Error(`version: format 0x${body[0].toString(16)} is not known here`);
    const find = (what, known, seed) => {
      const right = known.find((k) => crc32c(body, seed(k)) === check);
      if (right) return right;
      throw new Error(known.length ? `checksum: damaged, or made with ${what} that is not here`
        : `made with ${what}, which is not here`);
    };
    const byVersion = (low) => find(`a catalogue of version ${low} modulo 4`,
      this.catalogues.filter((c) => (c.version & 3) === low), (c) => c.fingerprint);
    if (body[0] === 0xf0) {
      const catalogue = byVersion(body[1] & 3);
      this.number = body[2] & 7;
      return rice(catalogue, body.subarray(3));
    }
    const coder = new Coder(body);
    let m, number;
    if (coder.raw(1)) {
      const low = coder.raw(3);
      const origin = find(`a batch of number ${low} modulo 8`,
        this.references.filter((b) => b.number === low), (b) => b.check);
      m = { ...origin.model, blocks: new Map(origin.model.blocks), devices: new Map(origin.model.devices),
        firsts: new Map(origin.model.firsts), p: [...origin.model.p], n: [...origin.model.n] };
      number = origin.number;
    } else {
      const catalogue = byVersion(coder.raw(2));
      m = { catalogue, prior: coder.raw(1), blocks: new Map(), devices: new Map(), firsts: new Map(),
        p: [], n: [], rows: 1, groups: 1 };
      number = coder.raw(3);
      m.alone = true;
    }
    m.firstMs = null;
    coder.p = m.p;
    coder.n = m.n;
    if (!m.alone) number = (number + coder.number(this.block(m, "reference", "head"), 0)) & 7;
    m.alone = false;
    const rows = this.groups(coder, m);
    this.number = number;
    this.references = [{ number, check, model: m }, ...this.references].slice(0, 32);
    return rows;
  }

  block(m, key, kind) {
    let base = m.blocks.get(key);
    if (base === undefined) {
      base = m.p.length;
      m.blocks.set(key, base);
      for (let i = 0; i < BLOCK; i++) {
        const byte = m.prior ? this.priors[kind][i] : 0;
        m.p.push(byte ? P[byte >> 3] : 32768);
        m.n.push(N[byte & 7]);
      }
    }
    return base;
  }

  groups(coder, m) {
    const out = [], devices = m.catalogue.devices, head = this.block(m, "head", "head");
    m.groups += coder.signed(head, 0, 0);
    let index = -1;
    for (let g = 0; g < m.groups; g++) {
      index += coder.number(head, 1) + 1;
      m.rows += coder.signed(head, 1, 2);
      if (index >= devices.length || m.rows < 1) throw new Error("structure: group");
      const device = devices[index], row = this.block(m, "row" + device.layout, "row");
      const unit = coder.bit(row + 6) ? 1000 : 1;
      const numbered = coder.bit(row + 4 + (device.numbered ? 1 : 0));
      const known = m.devices.get(index), s = this.state(m, device, known, unit);
      if (!numbered) s.sequence = null;
      device.channels.forEach((c, i) => {
        if (c.plain) return;
        const col = s.columns[i];
        const stepped = !!coder.bit(this.first(m, device, i) + ABSENT + (col.stepped ? 1 : 0));
        if (stepped !== col.stepped) Object.assign(col, { stepped, present: false });
        col.modulus = stepped ? c.modulus : 0;
      });
      let rows = m.rows;
      if (!known || (known.sequence === null && numbered)) {
        out.push(this.firstRow(coder, m, device, s, numbered));
        rows--;
      }
      for (; rows > 0; rows--) out.push(this.row(coder, m, device, s));
      m.devices.set(index, s);
    }
    return out;
  }

  state(m, device, known, unit) {
    const L = device.layout, u = unit === 1000 ? "s" : "ms";
    const timing = (s) => {
      s.steps = new Column(this.block(m, "steps" + u + L, "steps"));
      s.offsets = new Column(this.block(m, "offset" + u + L, "offset_" + u));
      s.steps.start(1);
      s.offsets.start(0);
    };
    if (known) {
      const s = { ...known, columns: known.columns.map((c) => c.clone()), steps: known.steps.clone(),
        offsets: known.offsets.clone(), sequences: known.sequences.clone(),
        motion: known.motion && known.motion.clone() };
      if (s.unit !== unit) {
        timing(s);
        this.block(m, "sequence" + L, "sequence");
        s.last = Math.floor(s.last * s.unit / unit);
        s.unit = unit;
      }
      return s;
    }
    const s = { unit, bySlot: true, regular: device.on_grid ? 1 : 0, sequence: null };
    timing(s);
    s.sequences = new Column(this.block(m, "sequence" + L, "sequence"));
    s.sequences.start(0);
    const moves = Motion.fits(device);
    s.columns = device.channels.map((c, i) => new Column(
      moves && ["lat", "lon"].includes(c.kind) ? this.block(m, "position" + L, "lat")
        : this.block(m, "column" + i + L, c.kind)));
    const paired = (i) => ["level", "value"].includes(device.channels[i].kind);
    for (let j = 1; j < device.order.length; j++) {
      if (!paired(device.order[j]) || !paired(device.order[j - 1])) continue;
      Object.assign(s.columns[device.order[j]], { pairs: new Map(), decay: 3 });
    }
    s.motion = moves ? new Motion(device) : null;
    if (s.motion) s.columns[s.motion.lat].decay = s.columns[s.motion.lon].decay = 3;
    s.mask = device.channels.map(() => true);
    return s;
  }

  first(m, device, i) { return this.block(m, "first" + i + device.layout, "first_" + device.channels[i].kind); }

  firstRow(coder, m, device, s, numbered) {
    const base = this.block(m, "first", "first"), u = s.unit;
    const a = Math.floor((device.anchor_s === null ? m.catalogue.epoch_s : device.anchor_s) * 1000 / u);
    const d = Math.floor(device.interval_s * 1000 / u);
    const steps = m.firstMs === null ? coder.signed(base, 0, 7)
      : coder.signed(base, 1, 2) + nearest(Math.floor(m.firstMs / u) - a, d);
    s.last = a + steps * d
      + coder.signed(this.block(m, "first_offset" + u, "first_offset"), device.on_grid ? 1 : 0, 5);
    s.sequence = numbered ? coder.signed(base, 2, 5) + device.anchor_sequence + steps : null;
    s.meta = this.meta(coder, m, device, device.meta);
    this.mask(coder, m, device, s);
    m.firstMs = s.last * u;
    const values = device.channels.map(() => null);
    let left = null;
    for (const i of device.order) {
      if (!s.mask[i]) { left = null; continue; }
      const count = this.firstValue(coder, m, device, s, i);
      this.pair(s.columns[i], left, count);
      left = count;
      values[i] = s.columns[i].stepped && !device.channels[i].plain ? device.channels[i].toValue(count) : count;
    }
    if (s.motion) s.motion.learn(values, 0n);
    return this.record(device, s, values);
  }

  firstValue(coder, m, device, s, i) {
    const c = device.channels[i], base = this.first(m, device, i);
    if (!m.firsts.has(device.layout)) m.firsts.set(device.layout, []);
    const firsts = [...m.firsts.get(device.layout)];
    m.firsts.set(device.layout, firsts);
    const blind = c.guess === null || !(c.plain || s.columns[i].stepped);
    const value = coder.signed(base, 0, blind ? 7 : Math.min(c.scale, 6)) + (blind ? firsts[i] || 0 : c.guess);
    firsts[i] = value;
    s.columns[i].start(value);
    return value;
  }

  meta(coder, m, device, expected) {
    if (coder.bit(this.block(m, "row" + device.layout, "row") + 2)) return expected;
    return coder.number(this.block(m, "meta", "meta"), 1);
  }

  mask(coder, m, device, s) {
    if (coder.bit(this.block(m, "row" + device.layout, "row") + 3)) return;
    s.mask = [...s.mask];
    for (const i of device.order) s.mask[i] = !!coder.bit(s.columns[i].base + ABSENT + (s.mask[i] ? 1 : 0));
  }

  pair(column, left, count) {
    if (!column.pairs || left === null) return;
    if (column.pairs.size >= 256 && !column.pairs.has(left)) column.pairs.delete(column.pairs.keys().next().value);
    column.pairs.set(left, count);
  }

  row(coder, m, device, s) {
    let steps = 1, offset = 0, skipped = 0, seen = 0;
    s.regular = coder.bit(this.block(m, "row" + device.layout, "row") + s.regular);
    if (!s.regular) {
      [steps, seen] = s.steps.value(coder, 0);
      [offset, seen] = s.offsets.value(coder, seen);
      if (s.sequence !== null) [skipped] = s.sequences.value(coder, seen);
      s.meta = this.meta(coder, m, device, s.meta);
      this.mask(coder, m, device, s);
    }
    const gap = steps * Math.floor(device.interval_s * 1000 / s.unit) + offset, ms = BigInt(gap * s.unit);
    s.last += gap;
    if (s.sequence !== null) {
      const ahead = skipped + (s.bySlot && steps > 0 ? steps : 1);
      if (steps !== 1 && (ahead === 1 || ahead === steps)) s.bySlot = ahead !== 1;
      s.sequence += ahead;
    }
    const values = device.channels.map(() => null), motion = s.motion;
    let left = null, guessed = false;
    for (const i of device.order) {
      if (!s.mask[i]) { left = null; continue; }
      const c = device.channels[i], column = s.columns[i];
      const position = motion && (i === motion.lat || i === motion.lon);
      if (position && motion.ready && !guessed) { motion.guess(values, ms); guessed = true; }
      let count;
      if (column.present) {
        if (column.pairs) column.hint = left !== null && column.pairs.has(left) ? column.pairs.get(left) : null;
        else if (position) {
          if (i === motion.lon && motion.ready && values[motion.lat] !== null) motion.refine(values[motion.lat]);
          const hint = i === motion.lat ? motion.gLat : motion.gLon;
          if (i === motion.lon) column.near = 16 * Math.abs(s.columns[motion.lat].r1);
          const far = BigInt(hint) >= 1n << 63n || BigInt(hint) <= -(1n << 63n);
          column.hint = !motion.ready || far ? null : column.stepped ? c.toCount(hint) : Number(hint);
        }
        [count, seen] = column.value(coder, seen);
      } else count = this.firstValue(coder, m, device, s, i);
      this.pair(column, left, count);
      left = count;
      values[i] = column.stepped && !c.plain ? c.toValue(count) : count;
    }
    if (motion) motion.learn(values, ms);
    return this.record(device, s, values);
  }

  record(device, s, values) { return record(device, s.sequence, s.last * s.unit, s.meta, values); }
}

function record(device, sequence, time_ms, meta, raw) {
  const values = {};
  device.channels.forEach((c, i) => { if (raw[i] !== null) values[c.name] = raw[i] / 10 ** c.decimals; });
  return { device: device.id, stream: device.stream, sequence, time_ms, quality: meta >> 3,
    time_source: SOURCES[meta & 7], values, raw };
}

function rice(catalogue, data) {
  let at = 0;
  const get = (w) => {
    let v = 0;
    for (; w > 0; w--, at++) {
      if (at >= data.length * 8) throw new Error("structure: bits beyond the end");
      v = v * 2 + ((data[at >> 3] >> (7 - (at & 7))) & 1);
    }
    return v;
  };
  const gamma = () => { let z = 0; while (!get(1)) z++; return 2 ** z + get(z) - 1; };
  const one = (k) => { let q = 0; while (get(1)) if (++q === 24) return get(68); return q * 2 ** k + get(k); };
  const column = (n) => {
    const k = get(5);
    return Array.from({ length: n }, () => (k === 31 ? 0 : unfold(one(k))));
  };
  const out = [];
  let index = -1;
  for (let groups = gamma() + 1; groups > 0; groups--) {
    index += gamma() + 1;
    const n = gamma() + 1, device = catalogue.devices[index];
    if (!device || n > 65535) throw new Error("structure: group");
    const u = get(1) ? 1000 : 1, numbered = get(1), d = Math.floor(device.interval_s * 1000 / u);
    const a = Math.floor((device.anchor_s === null ? catalogue.epoch_s : device.anchor_s) * 1000 / u);
    const times = [a + unfold(gamma())];
    for (const x of column(n - 1)) times.push(times.at(-1) + x + d);
    const sequences = times.map(() => null);
    if (numbered) {
      sequences[0] = unfold(gamma()) + device.anchor_sequence + nearest(times[0] - a, d);
      column(n - 1).forEach((x, i) => { sequences[i + 1] = sequences[i] + x + 1; });
    }
    const usual = get(1), metas = times.map(() => (usual ? device.meta : get(7)));
    const columns = device.channels.map((c) => {
      const all = get(1), present = times.map(() => all || get(1)), stepped = !c.plain && get(1);
      const count = present.filter((x) => x).length, values = [];
      if (count) {
        const straight = get(1);
        values.push(unfold(gamma()) + (c.guess !== null && (stepped || c.plain) ? c.guess : 0));
        let slope = 0;
        for (const x of column(count - 1)) {
          slope = straight ? slope + x : x;
          values.push(values.at(-1) + slope);
        }
      }
      const done = values.map((v) => (stepped ? c.toValue(v) : v));
      return present.map((x) => (x ? done.shift() : null));
    });
    times.forEach((t, i) => out.push(record(device, sequences[i], t * u, metas[i], columns.map((c) => c[i]))));
  }
  return out;
}

module.exports = { Decoder, crc32c };

// `node tukad-batch.js --check golden.json [prior_1.bin]` compares with what the reference decoder reads.
if (require.main === module && process.argv[2] === "--check") {
  const fs = require("fs"), path = require("path"), assert = require("assert");
  const prior = process.argv[4] || path.join(__dirname, "../../gateway/codec/prior_1.bin");
  let count = 0;
  for (const golden of JSON.parse(fs.readFileSync(process.argv[3], "utf8"))) {
    const decoder = new Decoder(fs.readFileSync(prior));
    decoder.catalogue(golden.catalogue);
    const devices = JSON.parse(golden.catalogue).devices;
    for (const batch of golden.batches) {
      const rows = decoder.batch(Buffer.from(batch.hex, "hex"));
      const got = rows.map((r) => [devices.findIndex((d) => d.id === r.device && d.stream === r.stream),
        r.sequence, r.time_ms, r.raw, r.quality, r.time_source]);
      assert.deepStrictEqual(got, batch.records);
      assert.strictEqual(decoder.number, batch.number);
      count++;
    }
  }
  console.log(`${count} batches as expected`);
}
