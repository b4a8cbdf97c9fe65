/**
 * One example of each frame between a device and its node, most with an extreme beside it, and
 * bytes that must be refused. Fields are named as in docs/protocol.md, where they differ from the
 * program's names.
 */
import { hex, hexDecode, utf8 } from '../../crypto/bytes.ts'
import type { Frame } from '../../protocol/frame/frame.ts'
import { nodeKey } from '../../protocol/ids.ts'
import type { BoxId, EnvelopeId, NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { ControlFrame } from '../../protocol/session/control-frames.ts'
import type { UdpFrame } from '../../protocol/session/udp/frames.ts'
import { bytesOf, nodeOf, nodesOf, testHour, testNowMs } from '../helpers/actors.ts'

const names: Readonly<Record<string, string>> = { box: 'boxId', nodeId: 'nodeKey' }

/** A value as JSON, in the document's words: byte strings and ids as hex, what is absent as null. */
export function documented(value: unknown): unknown {
  if (value === undefined) return null
  if (value instanceof Uint8Array) return hex(value)
  if (typeof value === 'string' && value.startsWith('12D3KooW')) return hex(nodeKey(value as NodeId))
  if (Array.isArray(value)) return value.map(documented)
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value).map(([name, field]) => [names[name] ?? name, documented(field)])
  return Object.fromEntries(fields)
}

const key = (name: string): Uint8Array => bytesOf(`wire ${name}`)
const box = hex(key('box')) as BoxId
const envelopeIds = [hex(key('id 1')), hex(key('id 2'))] as EnvelopeId[]
const request = 300
const holder = nodeOf('holder')
const boxFields = {
  writeKey: key('write'), readSeed: key('read seed'), itemsMax: 20_000, bytesMax: 33_554_432, expiryHour: 0,
} as const
const places = { homes: nodesOf('home', 1), replicas: nodesOf('replica', 5) }

/** `envelope` fields are opaque here: any bytes. */
export const frames: readonly Frame[] = [
  { type: 'submit', envelope: bytesOf('envelope', 200), ...places, purpose: 1, level: 0 },
  { type: 'submit', envelope: new Uint8Array(0), homes: [], replicas: [], purpose: 2, level: 3 },
  {
    type: 'receipt', envelopeId: envelopeIds[0]!, state: 1, have: 3, want: 3, route: 4, level: 0,
    proofs: [bytesOf('proof 1', 140), bytesOf('proof 2', 140)], code: '',
  },
  {
    type: 'receipt', envelopeId: envelopeIds[1]!, state: 3, have: 0, want: 5, route: 0, level: 2,
    proofs: [], code: 'ENVELOPE_REFUSED',
  },
  { type: 'withdraw', envelopeIds },
  { type: 'deliver', envelopes: [bytesOf('mail 1', 63), bytesOf('mail 2', 64)] },
  { type: 'acknowledge', box, envelopeIds },
  { type: 'inbox', request, action: 1, placement: key('placement'), ...boxFields },
  { type: 'inbox', request: 0, action: 2, placement: key('placement'), ...boxFields, expiryHour: testHour },
  { type: 'inboxState', request, box, ...places },
  { type: 'shelfHolders', request, shelfKey: key('shelf'), placement: key('placement') },
  { type: 'shelfHeld', request, shelfKey: key('shelf'), holders: [{ nodeId: holder, left: 7 }] },
  { type: 'shelfPut', request, puts: [bytesOf('put', 100)] },
  { type: 'shelfTake', request, shelfKey: key('shelf'), holders: [holder] },
  {
    type: 'shelfTaken', request,
    taken: { static: bytesOf('static', 90), oneTime: bytesOf('one-time', 70), left: 6 },
  },
  { type: 'shelfTaken', request, taken: { static: bytesOf('static', 90), oneTime: undefined, left: 0 } },
  { type: 'shelfTaken', request, taken: undefined },
  { type: 'publish', request, records: [bytesOf('record', 120)] },
  { type: 'published', request, holders: 8 },
  {
    type: 'locate', request, hint: '/ip4/192.0.2.17/tcp/41641', blindedKeys: [key('today'), key('tomorrow')],
  },
  { type: 'located', request, records: [] },
  { type: 'refusal', request, code: 'INBOX_TAKEN', detail: 'somebody else has it: ü, 箱' },
  { type: 'devices', request, linkKeys: [key('phone'), key('tablet')] },
  { type: 'devicesSet', request },
  { type: 'linkOpen', request, guestKey: key('guest') },
  { type: 'linkOpened', request, expiresAtMs: testNowMs },
  { type: 'linkMessage', bytes: bytesOf('sealed', 80) },
  { type: 'linkClosed', code: 'LINK_CODE_OVER' },
  { type: 'doors', addresses: ['tcp://192.0.2.7:4482', 'wss://home.example:443'] },
  { type: 'doors', addresses: [] },
  { type: 'fileBox', request, action: 3, ...boxFields },
  { type: 'filePut', request, envelope: bytesOf('piece', 150) },
  { type: 'fileHeld', request, box, ...places, pieces: 12, proofs: [bytesOf('proof 1', 140)] },
  {
    type: 'fileFetch', request, holder, proof: bytesOf('read proof', 240), after: Number.MAX_SAFE_INTEGER,
    itemsMax: 4,
  },
  {
    type: 'fileFetched', request, more: true,
    entries: [{ position: 2 ** 32 + 1, envelope: bytesOf('piece', 150) }],
  },
]

export const controlFrames: readonly ControlFrame[] = [
  { type: 'hello', version: 1, session: undefined, received: 0, windowBytes: limits.sessionWindowBytes },
  { type: 'hello', version: 1, session: bytesOf('session', 16), received: 16_384, windowBytes: 262_199 },
  { type: 'welcome', session: bytesOf('session', 16), resumed: true, received: 63, windowBytes: 2 ** 30 },
  { type: 'welcome', session: bytesOf('session', 16), resumed: false, received: 0, windowBytes: 1_048_576 },
  { type: 'data', number: 1, payload: utf8('payload') },
  { type: 'data', number: Number.MAX_SAFE_INTEGER, payload: new Uint8Array(0) },
  { type: 'ack', number: 64 },
  { type: 'ping' },
  { type: 'pong' },
  { type: 'error', code: 'SESSION_GAP', detail: 'frame 3 came after 1' },
  { type: 'bye', code: 'SESSION_BYE' },
]

export const udpFrames: readonly UdpFrame[] = [
  { type: 'ping' },
  { type: 'ack', largest: 0, delayUs: 0, first: 0, ranges: [] },
  {
    type: 'ack', largest: 70_000, delayUs: 24_999, first: 63,
    ranges: [{ gap: 0, length: 0 }, { gap: 64, length: 16_384 }],
  },
  { type: 'stream', offset: 0, data: utf8('a piece') },
  { type: 'stream', offset: 2 ** 40, data: bytesOf('stream', 100) },
  { type: 'end', offset: 2 ** 40 + 100 },
  { type: 'maxData', offset: 131_072 },
  { type: 'challenge', data: bytesOf('challenge', 8) },
  { type: 'answer', data: bytesOf('challenge', 8) },
  { type: 'close', reason: 1 },
  { type: 'ackNow' },
  { type: 'padding', length: 5 },
]

/** What no decoder takes, and why. */
export const refused = {
  control: [
    ['nothing', ''],
    ['a type that is not known', '09'],
    ['a hello of version 2', '0102000050100000'],
    ['an optional of 2', '010102005010000000'],
    ['a varint that is not in its shortest form', '044001'],
    ['a varint above 2^53 - 1', '04e000000000000000'],
    ['cut short', '0440'],
    ['a byte too many', '0500'],
    ['a code in small letters', '0803627965'],
    ['an empty code', '0800'],
    ['text that is not UTF-8', '070141' + '01ff'],
    ['a detail above its limit', `070141${'4101'}${'41'.repeat(257)}`],
  ],
  frames: [
    ['nothing', ''],
    ['a type of the session', '05'],
    ['a type that is not known', '2d'],
    ['purpose 3', '10' + '00' + '00' + '00' + '0300'],
    ['five homes', `10${'00'}05${'00'.repeat(160)}000100`],
    ['a field longer than what is there', '2505ff'],
    ['more items than bytes', '1b01' + '3f'],
    ['a boolean of 2', '2c0100' + '02'],
    ['a 64-bit number above 2^53 - 1', '2401' + '0020000000000000'],
    ['a byte too many', '220100'],
  ],
  udpFrames: [
    ['a type that is not known', '0a'],
    ['padding that is not zero', '000001'],
    ['a challenge cut short', '06000102'],
    ['more ranges than allowed', `02${'00'.repeat(3)}4040${'00'.repeat(128)}`],
  ],
} as const satisfies Record<string, readonly (readonly [string, string])[]>

/** As pairs of a reason and bytes. */
export function refusedBytes(list: readonly (readonly [string, string])[]) {
  return list.map(([what, bytes]) => ({ what, bytes: hexDecode(bytes) }))
}
