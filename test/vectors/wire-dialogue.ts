/**
 * The session's part of the wire vectors: a device and its node talk, lose each other in the
 * middle, go on over another link, and at last begin anew because the node has forgotten. Played
 * by the real machines over links in memory, told as the device sees it: what it sends when it
 * sends it, what it gets when it gets it. What a cut loses is marked.
 */
import { hex } from '../../crypto/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import type { Frame } from '../../protocol/frame/frame.ts'
import type { EnvelopeId } from '../../protocol/ids.ts'
import type { MessageLink, MessageLinkListener } from '../../protocol/ports.ts'
import { loopbackPair } from '../../node/connectors/loopback-connector.ts'
import { bytesOf } from '../helpers/actors.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { VirtualClock } from '../helpers/virtual-clock.ts'

export interface DialogueModules {
  readonly deviceSession: typeof import('../../protocol/session/device-session.ts')
  readonly sessionHost: typeof import('../../protocol/session/session-host.ts')
}

export interface DialogueStep {
  /** Which link of the device, 1, 2, 3. */
  readonly link: number
  readonly from: 'device' | 'node'
  readonly message: string
  /** It was sent and never arrived. */
  readonly lost: boolean
}

const quietMs = 5 * limits.sessionAckMs

interface Told {
  /** Whether it arrives. */
  sends(message: Uint8Array): boolean
  gets(message: Uint8Array): void
}

/** A link that may lose what is sent over it, and tells of what arrives. */
class ToldLink implements MessageLink {
  readonly transport = 'tcp'
  readonly #inner: MessageLink
  readonly #told: Told

  constructor(inner: MessageLink, told: Told) {
    this.#inner = inner
    this.#told = told
  }

  get bufferedBytes(): number {
    return this.#inner.bufferedBytes
  }

  send(message: Uint8Array): void {
    if (this.#told.sends(message)) this.#inner.send(message)
  }

  pause(): void {
    this.#inner.pause()
  }

  resume(): void {
    this.#inner.resume()
  }

  close(code: string): void {
    this.#inner.close(code)
  }

  listen(listener: MessageLinkListener): void {
    this.#inner.listen({
      message: (message) => {
        this.#told.gets(message)
        listener.message(message)
      },
      drain: () => listener.drain(),
      closed: (code) => listener.closed(code),
    })
  }
}

export async function dialogueVector({ deviceSession, sessionHost }: DialogueModules) {
  const clock = new VirtualClock()
  const steps: DialogueStep[] = []
  let links = 0
  let isLossy = false
  let isReachable = true
  let cut = (): void => {}
  const record = (from: DialogueStep['from'], message: Uint8Array): void => {
    steps.push({ link: links, from, message: hex(message), lost: isLossy })
  }
  const host = new sessionHost.SessionHost<string>({ clock, random: seededRandom('wire host') }, {
    authorise: () => ({ ok: true, value: 'device' }),
    opened: () => {}, frame: () => {}, drain: () => {}, linked: () => {}, ended: () => {},
  })
  const dialer = {
    async dial(): Promise<MessageLink> {
      if (!isReachable) throw new Error('no way')
      links++
      const [device, node] = loopbackPair(clock)
      cut = () => device.close('LINK_LOST')
      const link = new ToldLink(node, {
        sends: (message) => {
          if (isLossy) record('node', message)
          return !isLossy
        },
        gets: () => {},
      })
      host.accept({ link, deviceKey: bytesOf('wire device'), remote: 'test' })
      return new ToldLink(device, {
        sends: (message) => {
          record('device', message)
          return !isLossy
        },
        gets: (message) => record('node', message),
      })
    },
  }
  const device = new deviceSession.DeviceSession({ dialer, clock, random: seededRandom('wire device') }, {
    frame: () => {}, state: () => {}, reset: () => {},
  })
  const say = async (fromDevice: string, fromNode: string): Promise<void> => {
    void device.send(frame(fromDevice))
    for (const session of host.sessions()) void session.send(frame(fromNode))
    await clock.advance(quietMs)
  }
  device.start()
  await clock.advance(quietMs)
  await say('device 1', 'node 1')
  isLossy = true
  await say('device 2, lost with its link', 'node 2, lost with its link')
  isLossy = false
  cut()
  await clock.advance(limits.reconnectMinMs + quietMs)
  await say('device 3', 'node 3')
  isReachable = false
  cut()
  await clock.advance(limits.sessionResumeMs + quietMs)
  isReachable = true
  await clock.advance(limits.reconnectMaxMs + quietMs)
  await say('device 1 of another session', 'node 1 of another session')
  await clock.until(device.stop(), { withinMs: 60_000 })
  await clock.until(host.stop(), { withinMs: 60_000 })
  return steps
}

/** A frame that a reader of the vectors can tell from others. */
function frame(name: string): Frame {
  return { type: 'withdraw', envelopeIds: [hex(bytesOf(name)) as EnvelopeId] }
}
