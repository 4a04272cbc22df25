// Speaks JSON lines with tests/properties/lorawan/test_oracle.py: one request a line on stdin, one
// answer a line on stdout. All bytes are hexadecimal text. Wraps npm `lora-packet` and nothing else.
"use strict";

const readline = require("readline");
const lora = require("lora-packet");

const bytes = (text) => Buffer.from(text, "hex");
const high = (counter) => {
  const out = Buffer.alloc(2);
  out.writeUInt16LE(Math.floor(counter / 65536), 0);
  return out;
};

const answers = {
  // A data frame from its fields.
  encode(q) {
    const msb = high(q.f_cnt);
    const nwk = bytes(q.nwk);
    const fields = {
      MType: q.m_type,
      DevAddr: bytes(q.dev_addr),
      FCnt: bytes((q.f_cnt % 65536).toString(16).padStart(4, "0")),
      FCtrl: { ADR: q.adr, ADRACKReq: q.adr_ack_req, ACK: q.ack, FPending: q.f_pending },
      FOpts: bytes(q.f_opts),
      payload: bytes(q.payload),
    };
    if (q.f_port >= 0) fields.FPort = q.f_port;
    const packet = lora.fromFields(fields, bytes(q.app), nwk, undefined, msb);
    lora.recalculateMIC(packet, nwk, undefined, msb);
    packet._mergeGroupFields();
    return { phy: packet.PHYPayload.toString("hex") };
  },
  // The fields of a data frame.
  decode(q) {
    const msb = high(q.f_cnt);
    const packet = lora.fromWire(bytes(q.phy));
    const port = packet.getFPort();
    return {
      m_type: packet.MHDR[0] >> 5,
      dir: packet.getDir(),
      dev_addr: packet.DevAddr.toString("hex"),
      f_cnt_16: packet.getFCnt(),
      adr: packet.getFCtrlADR(),
      ack: packet.getFCtrlACK(),
      f_opts: packet.FOpts.toString("hex"),
      f_port: port === null ? -1 : port,
      mic: lora.verifyMIC(packet, bytes(q.nwk), undefined, msb),
      payload:
        packet.FRMPayload.length === 0
          ? ""
          : lora.decrypt(packet, bytes(q.app), bytes(q.nwk), msb).toString("hex"),
    };
  },
  join_request(q) {
    const packet = lora.fromFields(
      { AppEUI: bytes(q.join_eui), DevEUI: bytes(q.dev_eui), DevNonce: bytes(q.dev_nonce) },
      undefined, undefined, bytes(q.app_key)
    );
    return { phy: packet.PHYPayload.toString("hex") };
  },
  read_join_request(q) {
    const packet = lora.fromWire(bytes(q.phy));
    return {
      join_eui: packet.AppEUI.toString("hex"),
      dev_eui: packet.DevEUI.toString("hex"),
      dev_nonce: packet.DevNonce.toString("hex"),
      mic: lora.verifyMIC(packet, undefined, bytes(q.app_key)),
    };
  },
  join_accept(q) {
    const packet = lora.fromFields(
      {
        AppNonce: bytes(q.join_nonce), NetID: bytes(q.net_id), DevAddr: bytes(q.dev_addr),
        DLSettings: bytes(q.dl_settings), RxDelay: bytes(q.rx_delay), CFList: bytes(q.cf_list),
      },
      null, null, bytes(q.app_key)
    );
    const keys = lora.generateSessionKeys(
      bytes(q.app_key), bytes(q.net_id), bytes(q.join_nonce), bytes(q.dev_nonce)
    );
    return {
      phy: packet.PHYPayload.toString("hex"),
      nwk: keys.NwkSKey.toString("hex"),
      app: keys.AppSKey.toString("hex"),
    };
  },
  read_join_accept(q) {
    const key = bytes(q.app_key);
    const packet = lora.fromWire(lora.decryptJoinAccept(lora.fromWire(bytes(q.phy)), key));
    return {
      join_nonce: packet.AppNonce.toString("hex"),
      net_id: packet.NetID.toString("hex"),
      dev_addr: packet.DevAddr.toString("hex"),
      dl_settings: packet.DLSettings.toString("hex"),
      rx_delay: packet.RxDelay.toString("hex"),
      cf_list: packet.CFList.toString("hex"),
      mic: lora.verifyMIC(packet, undefined, key),
    };
  },
};

readline.createInterface({ input: process.stdin, terminal: false }).on("line", (line) => {
  const question = JSON.parse(line);
  let answer;
  try {
    answer = answers[question.op](question);
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
});
