/**
 * Frozen vectors of the wire between a device and its node (docs/protocol.md §14, and of §7 and
 * §12 what a device checks): `node test/vectors/wire.ts` writes wire.json on the reference backend.
 * test/protocol/wire-vectors.test.ts compares all backends with the file, and the client in
 * test/interop/python/ compares itself; after a wanted change write the file anew and say in the
 * commit what changed on the wire.
 *
 * All byte strings are hex. `sha256` is of the rest, as compact JSON.
 */
import { writeFileSync } from 'node:fs'
import { hex, utf8 } from '../../crypto/bytes.ts'
import type { BoxId } from '../../protocol/ids.ts'
import { importOn } from '../crypto/support/backends.ts'
import type { BackendName } from '../crypto/support/backends.ts'
import { bytesOf, testHour } from '../helpers/actors.ts'
import { handshakeVector, udpVector } from './wire-channel.ts'
import type { ChannelModules } from './wire-channel.ts'
import { dialogueVector } from './wire-dialogue.ts'
import type { DialogueModules } from './wire-dialogue.ts'
import { controlFrames, documented, frames, refused } from './wire-frames.ts'

export interface WireModules extends ChannelModules, DialogueModules {
  readonly frame: typeof import('../../protocol/frame/frame.ts')
  readonly ids: typeof import('../../protocol/ids.ts')
  readonly envelope: typeof import('../../protocol/envelope.ts')
  readonly deposit: typeof import('../../protocol/service/deposit.ts')
  readonly acknowledge: typeof import('../../protocol/service/acknowledge.ts')
}

export const vectorsFile = new URL('wire.json', import.meta.url)

export const loadModules = async (name: BackendName): Promise<WireModules> => ({
  index: await importOn(name, 'index.ts'),
  noise: await importOn(name, 'noise.ts'),
  channel: await importOn(name, '../protocol/session/noise-channel.ts'),
  control: await importOn(name, '../protocol/session/control-frames.ts'),
  packets: await importOn(name, '../protocol/session/udp/packets.ts'),
  udpFrames: await importOn(name, '../protocol/session/udp/frames.ts'),
  packetKeys: await importOn(name, '../protocol/session/udp/packet-keys.ts'),
  deviceSession: await importOn(name, '../protocol/session/device-session.ts'),
  sessionHost: await importOn(name, '../protocol/session/session-host.ts'),
  frame: await importOn(name, '../protocol/frame/frame.ts'),
  ids: await importOn(name, '../protocol/ids.ts'),
  envelope: await importOn(name, '../protocol/envelope.ts'),
  deposit: await importOn(name, '../protocol/service/deposit.ts'),
  acknowledge: await importOn(name, '../protocol/service/acknowledge.ts'),
})

export type WireVectors = Awaited<ReturnType<typeof generate>>

function listed<F extends { readonly type: string }>(list: readonly F[], encode: (frame: F) => Uint8Array) {
  return list.map((one) => {
    const { type, ...fields } = one
    return { type, fields: documented(fields), bytes: hex(encode(one)) }
  })
}

export async function generate(modules: WireModules) {
  const { control: { encodeControl }, frame: { encodeFrame } } = modules
  const rest = {
    source: 'openIM, test/vectors/wire.ts on the reference backend',
    control: listed(controlFrames, encodeControl),
    frames: listed(frames, encodeFrame),
    refused: Object.fromEntries(Object.entries(refused).map(([name, list]) => {
      return [name, list.map(([what, bytes]) => ({ what, bytes }))]
    })),
    objects: objectVectors(modules),
    handshakes: (['tcp', 'ws', 'http2'] as const).map((transport) => handshakeVector(modules, transport)),
    udp: udpVector(modules),
    dialogue: await dialogueVector(modules),
  }
  const { source, ...body } = rest
  return { source, sha256: hex(modules.index.crypto.sha256(utf8(JSON.stringify(rest)))), ...body }
}

/** What a device makes and checks besides frames. */
function objectVectors(modules: WireModules) {
  const { index: { crypto }, ids, envelope, deposit, acknowledge } = modules
  const [writeKeys, readKeys, nodeKeys] = ['wire write', 'wire read', 'wire node']
    .map((name) => crypto.signingKeyPair(bytesOf(name)))
  const keys = { writeKey: writeKeys!.publicKey, readKey: readKeys!.publicKey }
  const ciphertext = bytesOf('wire ciphertext', 512)
  const bytes = envelope.createEnvelope({
    writeKeys: writeKeys!, readKey: keys.readKey, expiryHour: testHour + 336, ciphertext,
  })
  const envelopeIds = [envelope.envelopeId(bytes)]
  return {
    writeSeed: hex(bytesOf('wire write')),
    readSeed: hex(bytesOf('wire read')),
    nodeSeed: hex(bytesOf('wire node')),
    nodeId: ids.nodeIdFromKey(nodeKeys!.publicKey),
    boxId: envelope.boxId(keys) satisfies BoxId,
    expiryHour: testHour + 336,
    ciphertext: hex(ciphertext),
    envelope: hex(bytes),
    envelopeId: envelopeIds[0]!,
    storeReceipt: hex(deposit.signStoreReceipt({
      nodeId: ids.nodeIdFromKey(nodeKeys!.publicKey), storedHour: testHour, envelopeIds,
    }, nodeKeys!)),
    tombstone: hex(acknowledge.signTombstone({ ...keys, envelopeIds }, readKeys!)),
  }
}

if (import.meta.main) {
  const vectors = await generate(await loadModules('noble'))
  writeFileSync(vectorsFile, `${JSON.stringify(vectors, undefined, 2)}\n`)
}
