/**
 * Real doors and real devices for the doors' bench: one `SessionHost` behind one connector of each
 * kind, and sessions that dial them, one or thousands.
 */
import type { Socket } from 'node:dgram'
import { hex, hexDecode } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import type { DhKeyPair } from '../../crypto/provider.ts'
import { systemRandom } from '../../crypto/random.ts'
import type { Frame } from '../../protocol/frame/frame.ts'
import type { MessageLink } from '../../protocol/ports.ts'
import { DeviceSession } from '../../protocol/session/device-session.ts'
import { SessionHost } from '../../protocol/session/session-host.ts'
import type { Dialer, HostedSession } from '../../protocol/session/types.ts'
import { UdpDevice } from '../../protocol/session/udp/udp-device.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { HTTP2Connector } from '../../node/connectors/http2-connector.ts'
import { HTTP2Dialer } from '../../node/connectors/http2-dialer.ts'
import { LoopbackConnector } from '../../node/connectors/loopback-connector.ts'
import { TCPConnector } from '../../node/connectors/tcp-connector.ts'
import { TCPDialer } from '../../node/connectors/tcp-dialer.ts'
import { UDPConnector } from '../../node/connectors/udp-connector.ts'
import { plainBytes, udpSocket } from '../../node/connectors/udp-socket.ts'
import { WSConnector } from '../../node/connectors/ws-connector.ts'
import { WSDialer } from '../../node/connectors/ws-dialer.ts'
import { silentLog } from '../../node/ports.ts'
import type { Connector } from '../../node/ports.ts'

export type SocketDoor = 'tcp' | 'udp' | 'ws' | 'http2'
export type DoorKind = SocketDoor | 'loopback'
export type DoorPorts = Readonly<Record<SocketDoor, number>>

export interface DoorPlace {
  /** Hex. */
  readonly doorKey: string
  readonly door: DoorKind
  readonly port: number
}

export type CrowdPlace = DoorPlace & { readonly door: SocketDoor }

type OnFrame = (frame: Frame) => void | Promise<void>
type Sender = Pick<HostedSession<unknown>, 'send'>

const components = { clock: systemClock, random: systemRandom, log: silentLog }
/** Connections that a crowd opens at once. */
const dialsAtOnce = 64
/** A UDP door bounds each address and has no proxies to trust, so a crowd comes from many. */
const crowdAddresses = 64

/** A host of sessions; `begin` says what becomes of the frames of each. */
function sessionHost(begin: (session: Sender) => OnFrame): SessionHost<string> {
  const handlers = new WeakMap<object, OnFrame>()
  return new SessionHost<string>(components, {
    authorise: (deviceKey) => ({ ok: true, value: hex(deviceKey) }),
    opened: (session) => { handlers.set(session, begin(session)) },
    frame: (session, frame) => handlers.get(session)?.(frame),
    drain: () => {},
    linked: () => {},
    ended: () => {},
  })
}

export interface OpenHost {
  readonly doorKey: string
  readonly ports: DoorPorts
  online(): number
}

export async function openHost(begin: (session: Sender) => OnFrame): Promise<OpenHost> {
  const host = sessionHost(begin)
  const doorKey = crypto.dhKeyPair(systemRandom.bytes(32))
  const parts = { ...components, doorKey }
  const place = { host: '127.0.0.1', port: 0, trustedProxies: ['127.0.0.1'] }
  const doors: Record<SocketDoor, Connector> = {
    tcp: new TCPConnector(parts, place),
    udp: new UDPConnector(parts, place),
    ws: new WSConnector(parts, place),
    http2: new HTTP2Connector(parts, place),
  }
  const ports = {} as Record<SocketDoor, number>
  for (const [kind, door] of Object.entries(doors) as [SocketDoor, Connector][]) {
    await door.start((accepted) => host.accept(accepted))
    ports[kind] = Number(door.address()!.split(':').at(-1))
  }
  return {
    doorKey: hex(doorKey.publicKey),
    ports,
    online: () => [...host.sessions()].filter(({ online }) => online).length,
  }
}

/** One session, online. `other` serves the other end of loopback, which is in this process. */
export async function dialSession(
  place: DoorPlace,
  ends: { frame: OnFrame, other: (session: Sender) => OnFrame },
): Promise<DeviceSession> {
  const own = crypto.dhKeyPair(systemRandom.bytes(32))
  let dialer: Dialer
  if (place.door === 'loopback') {
    const door = new LoopbackConnector(components)
    const host = sessionHost(ends.other)
    await door.start((accepted) => host.accept(accepted))
    dialer = door.dialer(own.publicKey)
  } else {
    dialer = dialerTo({ ...place, door: place.door }, own, '127.0.0.1')
  }
  const online = Promise.withResolvers<void>()
  const session = new DeviceSession({ ...components, dialer }, {
    frame: ends.frame,
    state: (isOnline, code) => {
      if (isOnline) online.resolve()
      else online.reject(new Error(`${place.door}: ${code}`))
    },
    reset: () => {},
  })
  session.start()
  await online.promise
  return session
}

function dialerTo(place: CrowdPlace, own: DhKeyPair, from: string): Dialer {
  const options = { host: '127.0.0.1', port: place.port, doorKey: hexDecode(place.doorKey), own }
  switch (place.door) {
    case 'tcp': return new TCPDialer(components, options)
    case 'ws': return new WSDialer(components, options)
    case 'http2': return new HTTP2Dialer(components, options)
    case 'udp': return { dial: () => dialDatagrams(options, from) }
  }
}

/** As UDPDialer, from an address of choice. */
function dialDatagrams(
  options: { port: number, doorKey: Uint8Array, own: DhKeyPair },
  from: string,
): Promise<MessageLink> {
  const socket: Socket = udpSocket(4)
  const { promise, resolve, reject } = Promise.withResolvers<MessageLink>()
  const device = new UdpDevice(components, { own: options.own, nodeKey: options.doorKey }, {
    send: (datagram) => socket.send(datagram),
    settled: (result) => (result.ok ? resolve(result.value) : reject(new Error(result.code))),
    stuck: () => {},
    gone: () => { socket.close() },
  })
  socket.on('error', () => {}).on('message', (message) => device.receive(plainBytes(message)))
  socket.bind(0, from, () => {
    socket.connect(options.port, '127.0.0.1', () => device.start())
  })
  return promise
}

export interface Crowd {
  /** Opens so many more, all online in the end; seconds that it took. */
  grow(count: number): Promise<number>
  online(): number
  leave(): Promise<void>
}

/** Devices that only keep their sessions. */
export function startCrowd(place: CrowdPlace): Crowd {
  const sessions: DeviceSession[] = []
  const open = async (number: number, own: DhKeyPair): Promise<void> => {
    const from = `127.0.0.${1 + (number % crowdAddresses)}`
    const online = Promise.withResolvers<void>()
    const session = new DeviceSession({ ...components, dialer: dialerTo(place, own, from) }, {
      frame: () => {},
      state: (isOnline) => { if (isOnline) online.resolve() },
      reset: () => {},
    })
    sessions.push(session)
    session.start()
    await online.promise
  }
  return {
    async grow(count) {
      const keys = Array.from({ length: count }, () => crypto.dhKeyPair(systemRandom.bytes(32)))
      let next = 0
      const first = sessions.length
      const startMs = performance.now()
      await Promise.all(Array.from({ length: dialsAtOnce }, async () => {
        for (let i = next++; i < count; i = next++) await open(first + i, keys[i]!)
      }))
      return (performance.now() - startMs) / 1_000
    },
    online: () => sessions.filter(({ online }) => online).length,
    async leave() {
      await Promise.all(sessions.map((session) => session.stop()))
      sessions.length = 0
    },
  }
}
