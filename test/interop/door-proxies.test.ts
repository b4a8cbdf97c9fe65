/**
 * The doors behind the reverse proxies that people have: HTTP/2 behind haproxy, where many devices
 * share few connections, and WebSocket behind nginx. Each proxy is a private instance on a free
 * loopback port. The configurations are those of docs/operate.md.
 */
import * as assert from 'uvu/assert'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HTTP2Connector } from '../../node/connectors/http2-connector.ts'
import { HTTP2Dialer } from '../../node/connectors/http2-dialer.ts'
import { WSConnector } from '../../node/connectors/ws-connector.ts'
import { WSDialer } from '../../node/connectors/ws-dialer.ts'
import { silentLog } from '../../node/ports.ts'
import type { Connector } from '../../node/ports.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import type { Dialer } from '../../protocol/session/types.ts'
import { Door, drive, numberedFrame } from '../compliance/connector-world.ts'
import { doorKey } from '../compliance/socket-doors.ts'
import { needProgram } from '../helpers/debian.ts'
import { freePort } from '../helpers/free-port.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'

const haproxy = await needProgram('haproxy')
const nginx = await needProgram('nginx', 'nginx-light')

const test = suite('interop/door-proxies', { timeoutMs: 60_000 })
let folder: string
let proxy: ChildProcess | undefined
test.before.each(async () => {
  folder = await mkdtemp(join(tmpdir(), 'openim-proxy-'))
})
test.after.each(async () => {
  if (proxy !== undefined && proxy.exitCode === null) {
    proxy.kill('SIGKILL')
    await once(proxy, 'exit')
  }
  proxy = undefined
  await rm(folder, { recursive: true, force: true })
})

const devices = 50
const messages = 20

/** Devices that dial the proxy; each sends and gets its messages back. */
async function talkThrough(
  kind: 'http2' | 'ws',
  start: (doorPort: number) => Promise<number>,
): Promise<Connector> {
  let proxyPort = 0
  const door = new Door({
    name: kind,
    transport: kind,
    create: (clock) => new ({ http2: HTTP2Connector, ws: WSConnector }[kind])(
      { clock, random: seededRandom('door'), log: silentLog, doorKey },
      { host: '127.0.0.1', port: 0, trustedProxies: ['127.0.0.1'] },
    ),
    dialer(_connector, clock, own): Dialer {
      const place = { host: '127.0.0.1', port: proxyPort, doorKey: doorKey.publicKey, own }
      const Dialer = { http2: HTTP2Dialer, ws: WSDialer }[kind]
      return new Dialer({ clock, random: seededRandom('dialer') }, place)
    },
  })
  await door.open()
  try {
    proxyPort = await start(Number(door.connector.address()!.split(':').at(-1)))
    const host = door.host()
    host.answer = (session, frame) => session.send(frame)
    const all = Array.from({ length: devices }, (_, i) => door.device(door.dialer(`device ${i}`), i))
    for (const device of all) {
      device.session.start()
      for (let i = 1; i <= messages; i++) void device.session.send(numberedFrame(i, 200))
    }
    // Real processes in between: time moves as it does for them.
    const beganMs = systemClock.monotonicMs()
    await drive(door.clock, () => all.every((device) => device.received.length >= messages), { stepMs: 0.1 })
    assert.ok(systemClock.monotonicMs() - beganMs < 50_000)
    const expected = Array.from({ length: messages }, (_, i) => i + 1)
    for (const device of all) {
      assert.equal(device.received, expected)
      assert.equal(device.events, ['reset', 'online'])
    }
    const { accepted, open } = door.connector.metrics()
    assert.is(open, devices)
    process.stdout.write(`${kind}: ${devices} devices over ${accepted} connections of the proxy\n`)
    if (kind === 'http2') assert.ok(accepted! < devices)
    return door.connector
  } finally {
    await door.close()
  }
}

test.skipUnless(haproxy !== undefined, 'haproxy is not installed')(
  'many devices share few HTTP/2 connections of haproxy',
  async () => {
    await talkThrough('http2', async (doorPort) => {
      const port = await freePort()
      await run(haproxy!, ['-db', '-f', await config('haproxy.cfg', `
        global
          maxconn 1000
        defaults
          mode http
          timeout connect 5s
          timeout client 1h
          timeout server 1h
        frontend openim
          bind 127.0.0.1:${port} proto h2
          default_backend node
        backend node
          http-reuse always
          server node 127.0.0.1:${doorPort} proto h2
      `)], port)
      return port
    })
  },
)

test.skipUnless(nginx !== undefined, 'nginx is not installed')(
  'devices talk over WebSocket through nginx',
  async () => {
    await talkThrough('ws', async (doorPort) => {
      const port = await freePort()
      await run(nginx!, ['-p', folder, '-e', 'error.log', '-c', await config('nginx.conf', `
        daemon off; master_process off;
        pid nginx.pid;
        error_log error.log;
        events { worker_connections 512; }
        http {
          access_log off;
          client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
          uwsgi_temp_path uwsgi; scgi_temp_path scgi;
          server {
            listen 127.0.0.1:${port};
            location /openim/1 {
              proxy_pass http://127.0.0.1:${doorPort};
              proxy_http_version 1.1;
              proxy_set_header Upgrade $http_upgrade;
              proxy_set_header Connection upgrade;
              proxy_read_timeout 1h;
              proxy_send_timeout 1h;
            }
          }
        }
      `)], port)
      return port
    })
  },
)

test.run()

async function config(name: string, text: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, `${text.trimEnd()}\n`)
  return path
}

/** Settles when the proxy listens. */
async function run(program: string, args: readonly string[], port: number): Promise<void> {
  let output = ''
  proxy = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  for (const stream of [proxy.stdout!, proxy.stderr!]) {
    stream.setEncoding('utf8').on('data', (text: string) => { output += text })
  }
  for (let tries = 0; tries < 200; tries++) {
    if (proxy.exitCode !== null) break
    if (await listens(port)) return
    await new Promise((resolve) => { setTimeout(resolve, 25) })
  }
  const log = await readFile(join(folder, 'error.log'), 'utf8').catch(() => '')
  throw new Error(`the proxy does not listen: ${output}${log}`)
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const { promise, resolve } = Promise.withResolvers<boolean>()
  socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
  const result = await promise
  socket.destroy()
  return result
}
