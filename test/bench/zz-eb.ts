import { fork } from 'node:child_process'
import { systemRandom } from '/work/main/crypto/random.ts'
import { crypto } from '/work/main/crypto/index.ts'
import { createEnvelope, expiryHour, parseEnvelope } from '/work/main/protocol/envelope.ts'
import { encode, tryDecode } from '/work/main/protocol/codec/struct.ts'
import { Writer } from '/work/main/protocol/codec/writer.ts'
const enc = (es: any[]) => { const w = new Writer(8 + es.length * 651); depositRequestCodec.write(w, { envelopes: es }); return w.finish() }
import { depositRequestCodec, depositReplyCodec } from '/work/main/protocol/service/deposit.ts'
import { services } from '/work/main/protocol/service/codes.ts'
import { benchOverlay, rawNode, rawProtocol, echoProtocol } from '/work/main/test/bench/overlay-peer.ts'
import { multiaddr } from '@multiformats/multiaddr'
const child = fork('/work/main/test/bench/overlay-peer.ts', ['taker'], { execArgv: ['--expose-gc'] })
let n = 0; const waiting = new Map<number, any>()
child.on('message', (m: any) => { waiting.get(m.id)?.(m); waiting.delete(m.id) })
await new Promise(r => waiting.set(0, r))
const ask = (command: any) => new Promise<any>((resolve, reject) => { const id = ++n; waiting.set(id, (m: any) => m.error ? reject(new Error(m.error)) : resolve(m.result)); child.send({ id, command }) })
const addr = await ask({ op: 'addresses' })
const overlay = benchOverlay(); await overlay.start(); await overlay.dial(addr.overlay, { timeoutMs: 5000 })
const raw = await rawNode(); await raw.start()
const conn = await raw.dial(multiaddr(addr.raw)); console.log(conn.encryption)
const wk = crypto.signingKeyPair(systemRandom.bytes(32)); const rk = crypto.signingKeyPair(systemRandom.bytes(32))
const envs = Array.from({ length: 2048 }, () => createEnvelope({ writeKeys: wk, readKey: rk.publicKey, expiryHour: expiryHour(Date.now()) + 24, ciphertext: systemRandom.bytes(512) }))
const size = envs[0]!.length; console.log('size', size)
{ const t = performance.now(); for (let k = 0; k < 10; k++) for (const e of envs) parseEnvelope(e); console.log('parseEnvelope us', (performance.now() - t) / envs.length / 10 * 1000) 
 const t2 = performance.now(); let b: any; for (let i = 0; i + 64 <= 2048; i += 64) b = encode(depositRequestCodec, { envelopes: envs.slice(i, i + 64) }); console.log('encode batch us/env', (performance.now() - t2) / 2048 * 1000)
 const t3 = performance.now(); for (let i = 0; i < 32; i++) tryDecode(depositRequestCodec, b); console.log('decode us/env', (performance.now() - t3) / 2048 * 1000)}
async function cpu(f: () => Promise<number>) { const c0 = process.cpuUsage(), d0 = await ask({ op: 'cpu' }); const t = performance.now(); const count = await f(); const ms = performance.now() - t; const c = process.cpuUsage(c0), d1 = await ask({ op: 'cpu' }); return { kps: count / ms, us: (c.user + c.system) / count, usPeer: (d1.user + d1.system - d0.user - d0.system) / count } }
const MS = 1500; const CONC = Number(process.env.CONC ?? 16)
const rawStream = await conn.newStream(rawProtocol)
async function rawRun(batch: number) { return cpu(async () => {
  const s = rawStream
  const buf = new Uint8Array(batch * (size + 2)); for (let i = 0; i < batch; i++) { buf[i * (size + 2)] = size >> 8; buf[i * (size + 2) + 1] = size & 255; buf.set(envs[i]!, i * (size + 2) + 2) }
  const end = performance.now() + MS; let sent = 0
  let wake: any; const w = () => { wake?.() }; s.addEventListener('drain', w); s.addEventListener('idle', w)
  while (performance.now() < end) { if (s.writeBufferLength < 1 << 20) { for (let i = 0; i < 8; i++) { s.send(new Uint8Array(buf)); sent += batch } if (s.writeBufferLength < 1<<20) await new Promise(r => setImmediate(r)) } else await new Promise(r => { wake = r }) ; await null }
  s.removeEventListener('drain', w); s.removeEventListener('idle', w)
  const got = await new Promise<number>(r => { s.addEventListener('message', (e: any) => { const b = e.data.subarray(); r(new DataView(b.buffer, b.byteOffset).getFloat64(0)) }, { once: true }); s.send(new Uint8Array(2)) })
  if (got !== sent) console.log('!', got, sent)
  return got
}) }
async function ovRun(conc: number, batch = 64) { return cpu(async () => {
  const end = performance.now() + MS; let count = 0, k = 0
  await Promise.all(Array.from({ length: conc }, async () => { while (performance.now() < end) { const from = (k++ * batch) % (envs.length - batch + 1); const r = await overlay.call(addr.nodeId, services.deposit, enc(envs.slice(from, from + batch)), { timeoutMs: 10000 }); if (!r.ok) throw new Error(r.code); const d = tryDecode(depositReplyCodec, r.value); if (!d.ok) throw 1; count += d.value.results.length } }))
  return count
}) }
const f = (r: any) => `${r.kps.toFixed(0)} k/s cpu ${r.us.toFixed(2)}+${r.usPeer.toFixed(2)}`
for (let i = 0; i < 3; i++) {
  const a = await rawRun(64); const b = await ovRun(CONC); await ask({ op: 'forget' }); 
  console.log('raw b64', f(a), '| overlay 16x64', f(b), 'ratio', (b.kps / a.kps).toFixed(3))
  const c = await ovRun(128, 16); await ask({ op: 'forget' })
  const rb = await rawRun(16);  console.log('raw b16', f(rb), '| overlay 64x16', f(c), 'ratio', (c.kps / rb.kps).toFixed(3))
  await ask({ op: 'verify', on: true }); const v = await ovRun(CONC); await ask({ op: 'verify', on: false }); await ask({ op: 'forget' }); console.log('verify', f(v))
}
const es = await conn.newStream(echoProtocol)
async function lat(fn: () => Promise<void>) { const ts: number[] = []; for (let i = 0; i < 400; i++) { const t = performance.now(); await fn(); ts.push(performance.now() - t) } ts.sort((a, b) => a - b); return `p50 ${(ts[200]! * 1000).toFixed(0)} p99 ${(ts[396]! * 1000).toFixed(0)} us` }
for (let i = 0; i < 3; i++) {
  console.log('raw rtt', await lat(() => new Promise(r => { es.addEventListener('message', () => r(), { once: true }); es.send(envs[0]!) })))
  console.log('ovl rtt', await lat(async () => { await overlay.call(addr.nodeId, services.deposit, encode(depositRequestCodec, { envelopes: [envs[0]!] }), { timeoutMs: 10000 }) }))
}
await overlay.stop(); await raw.stop(); await ask({ op: 'stop' })
