/**
 * A client in another language, written from docs/protocol.md alone (python/), against the frozen
 * vectors and against a node: the real rooms behind real TCP and UDP doors on loopback. So the
 * document says what the program does, and enough of it.
 */
import * as assert from 'uvu/assert'
import { hex } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import { systemRandom } from '../../crypto/random.ts'
import { createEnvelope, decodeEnvelope, envelopeId } from '../../protocol/envelope.ts'
import type { Frame } from '../../protocol/frame/frame.ts'
import { nodeIdFromKey } from '../../protocol/ids.ts'
import { DeviceSession } from '../../protocol/session/device-session.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { LoopbackConnector } from '../../node/connectors/loopback-connector.ts'
import { TCPConnector } from '../../node/connectors/tcp-connector.ts'
import { UDPConnector } from '../../node/connectors/udp-connector.ts'
import { NodeCore } from '../../node/node-core.ts'
import { MemoryNetwork } from '../../node/overlay/memory-network.ts'
import { MemoryOverlay } from '../../node/overlay/memory-overlay.ts'
import { silentLog } from '../../node/ports.ts'
import type { Log } from '../../node/ports.ts'
import { MemoryStore } from '../../node/storage/memory-store.ts'
import { needPythonModule } from '../helpers/debian.ts'
import { suite } from '../helpers/harness.ts'
import { runPython, toldByPython } from '../helpers/python-script.ts'
import { TestInbox } from '../helpers/test-inbox.ts'

const python = await needPythonModule('cryptography')

const test = suite('interop/python client', { timeoutMs: 120_000 })
const withPython = test.skipUnless(python !== undefined, 'python3-cryptography is not installed')

const clientPath = new URL('./python/openim_wire.py', import.meta.url).pathname
const vectorsPath = (name: string): string => new URL(`../vectors/${name}.json`, import.meta.url).pathname
const ports = { clock: systemClock, random: systemRandom, log: silentLog }

/** Runs the client to its end and gives what it printed. */
async function runClient(args: readonly string[], settings?: object): Promise<Record<string, unknown>> {
  return await toldByPython(python!, [clientPath, ...args], settings)
}

/** The last line of a talk that fails. */
async function refusedTalk(settings: object): Promise<string> {
  const { code, errors } = await runPython(python!, [clientPath, 'talk'], settings)
  assert.is(code, 1, errors)
  return errors.trim().split('\n').at(-1)!
}

/** A node with two accounts: the client's, and that of somebody who sends everything back. */
class Scene {
  readonly doorKey = crypto.dhKeyPair(systemRandom.bytes(32))
  readonly nodeKeys = crypto.signingKeyPair(systemRandom.bytes(32))
  readonly nodeId = nodeIdFromKey(this.nodeKeys.publicKey)
  readonly clientSecret = systemRandom.bytes(32)
  readonly clientInbox = new TestInbox(ports)
  readonly peerInbox = new TestInbox(ports)
  readonly #store = new MemoryStore(ports)
  readonly #tcp = new TCPConnector({ ...ports, doorKey: this.doorKey }, { host: '127.0.0.1', port: 0 })
  readonly #udp = new UDPConnector({ ...ports, doorKey: this.doorKey }, { host: '127.0.0.1', port: 0 })
  readonly #loopback = new LoopbackConnector(ports)
  #core: NodeCore | undefined
  #peer: DeviceSession | undefined
  /** Why sessions of the client began and ended. */
  readonly sessions: string[] = []

  async start(): Promise<void> {
    const network = new MemoryNetwork(ports, { latencyMs: [0, 0] })
    const overlay = new MemoryOverlay({ network, nodeId: this.nodeId }, { bootstrap: [] })
    this.#core = await NodeCore.open({
      ...ports, overlay, store: this.#store, connectors: [this.#tcp, this.#udp, this.#loopback],
      nodeKeys: this.nodeKeys, doorKey: this.doorKey, log: this.#log(),
    }, { roles: [], lentBytesMax: 0 })
    await this.#core.start()
    await this.#core.accounts.register('client', crypto.dhKeyPair(this.clientSecret).publicKey)
    const peerKey = crypto.dhKeyPair(systemRandom.bytes(32)).publicKey
    await this.#core.accounts.register('peer', peerKey)
    this.#startPeer(peerKey)
  }

  async stop(): Promise<void> {
    await this.#peer?.stop()
    await this.#core?.stop()
    await this.#store.close()
  }

  /** What the client is told, as JSON. */
  settings(change: object = {}): object {
    const { clientInbox, peerInbox, nodeKeys, doorKey } = this
    const port = (address: string | undefined): number => Number(address?.split(':').at(-1))
    return {
      host: '127.0.0.1',
      tcpPort: port(this.#tcp.address()),
      udpPort: port(this.#udp.address()),
      doorKey: hex(doorKey.publicKey),
      nodeKey: hex(nodeKeys.publicKey),
      deviceSecret: hex(this.clientSecret),
      writeSeed: hex(clientInbox.writeKeys.exportSecret()),
      readSeed: hex(clientInbox.readSeed),
      peerWriteSeed: hex(peerInbox.writeKeys.exportSecret()),
      peerReadKey: hex(peerInbox.readKey),
      loss: 0,
      seed: 0,
      ...change,
    }
  }

  get udpMetrics(): Readonly<Record<string, number>> {
    return this.#udp.metrics()
  }

  #startPeer(key: Uint8Array): void {
    const peer = new DeviceSession({ ...ports, dialer: this.#loopback.dialer(key) }, {
      frame: (frame) => this.#answer(peer, frame),
      state: () => {},
      reset: () => { void peer.send(this.peerInbox.frame()) },
    })
    this.#peer = peer
    peer.start()
  }

  /** Sends the contents back and lets go of the envelopes. */
  async #answer(peer: DeviceSession, frame: Frame): Promise<void> {
    if (frame.type !== 'deliver') return
    const { peerInbox, clientInbox } = this
    for (const bytes of frame.envelopes) {
      const { ciphertext, expiryHour } = decodeEnvelope(bytes)
      const envelope = createEnvelope({
        writeKeys: clientInbox.writeKeys, readKey: clientInbox.readKey, ciphertext, expiryHour,
      })
      await peer.send({ type: 'submit', envelope, homes: [this.nodeId], replicas: [], purpose: 2, level: 0 })
    }
    const envelopeIds = frame.envelopes.map(envelopeId)
    await peer.send({ type: 'acknowledge', box: peerInbox.box, envelopeIds })
  }

  #log(): Log {
    const note = (details: object, text?: string): void => {
      const { device, code, transport } = details as { device?: string, code?: string, transport?: string }
      if (device !== hex(crypto.dhKeyPair(this.clientSecret).publicKey) || text === undefined) return
      if (code !== undefined || transport !== undefined) this.sessions.push(`${text} ${code ?? transport}`)
    }
    return { ...silentLog, info: note }
  }
}

const scenes: Scene[] = []
test.after.each(async () => {
  for (const scene of scenes.splice(0)) await scene.stop()
})

async function startScene(): Promise<Scene> {
  const scene = new Scene()
  scenes.push(scene)
  await scene.start()
  return scene
}

withPython('says and reads every frozen byte of the wire', async () => {
  const { checked } = await runClient(['check', vectorsPath('wire'), vectorsPath('protocol-objects')])
  process.stdout.write(`\n  ${JSON.stringify(checked)} `)
  const { control, frames, refused, dialogue } = checked as Record<string, number>
  assert.ok(control! >= 8 && frames! >= 28 && refused! > 20 && dialogue! > 20)
})

withPython('mail goes both ways over TCP and UDP in one session, which two cuts do not end', async () => {
  const scene = await startScene()
  const told = await runClient(['talk'], scene.settings())
  assert.equal(told['resumed'], [['tcp', false], ['udp', true], ['tcp', true], ['tcp', false]])
  assert.is(told['echoed'], 124)
  assert.is(told['delivered'], 125)
  assert.is(told['refusal'], 'CODEC_TRUNCATED')
  assert.ok(told['receiptsProven'] as number > 0)
  assert.equal(scene.sessions.slice(0, 3), [
    'device session opened tcp', 'device session ended SESSION_BYE', 'device session opened tcp',
  ])
  assert.is(scene.udpMetrics['migrations'], 1)
})

for (const loss of [0.05, 0.2]) {
  withPython(`loses and doubles nothing over UDP with ${loss * 100} % loss each way`, async () => {
    const scene = await startScene()
    const told = await runClient(['talk'], scene.settings({ loss, seed: 7 }))
    assert.is(told['echoed'], 124)
    assert.is(told['delivered'], 125)
    const udp = told['udp'] as Record<string, number>
    process.stdout.write(`\n  ${loss * 100} % loss: ${JSON.stringify(udp)} `)
    assert.ok(udp['dropped']! > 0 && udp['lost']! > 0)
  })
}

withPython('is told so when the node does not know its device', async () => {
  const scene = await startScene()
  const code = await refusedTalk(scene.settings({ deviceSecret: hex(systemRandom.bytes(32)) }))
  assert.match(code, /SessionOver: DEVICE_UNKNOWN/)
})

withPython('gives up when the node has another key than it was told', async () => {
  const scene = await startScene()
  const other = crypto.dhKeyPair(systemRandom.bytes(32)).publicKey
  assert.match(await refusedTalk(scene.settings({ doorKey: hex(other) })), /LinkLost/)
})

test.run()
