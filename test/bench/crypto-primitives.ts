/**
 * Part of the `crypto` benchmark: each primitive on what Node runs (OpenSSL, short inputs by wasm),
 * on libsodium's wasm and on noble, which is the measure of both; and against `openssl speed`,
 * which is OpenSSL without any JavaScript around it. The system's OpenSSL is not the one in Node,
 * but close enough to show what calls cost.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { crypto } from '../../crypto/index.ts'
import { provider as noble } from '../../crypto/provider-noble.ts'
import type { CryptoProvider } from '../../crypto/provider.ts'
import { provider as wasm } from '../../crypto/provider-wasm.ts'
import { systemRandom } from '../../crypto/random.ts'
import { compare, interleaved, median, perSecond } from './bench.ts'
import type { BenchRow } from './bench.ts'

/** What Node runs is nowhere really slower than the reference. */
const floorToNoble = 0.8
const rounds = 5
const roundMs = 40
/** Of `openssl speed`, for each figure. */
const opensslSeconds = 1

const key = systemRandom.bytes(32)
const nonce = systemRandom.bytes(12)

interface Primitive {
  readonly figure: string
  /** What is called again and again, with its input made ready. */
  readonly prepare: (backend: CryptoProvider) => () => unknown
  /** Arguments of `openssl speed`, and which of the rates in its output is meant. */
  readonly openssl?: { readonly args: readonly string[], readonly rate?: 'first' | 'second' }
}

function aead(label: string, bytes: number): Primitive[] {
  const plaintext = systemRandom.bytes(bytes)
  const ciphertext = noble.seal({ key, nonce, plaintext })
  const openssl = { args: ['-evp', 'chacha20-poly1305', '-bytes', String(bytes)] }
  return [
    {
      figure: `ChaCha20-Poly1305 seal ${label}`,
      prepare: (backend) => () => backend.seal({ key, nonce, plaintext }),
      openssl,
    },
    {
      figure: `ChaCha20-Poly1305 open ${label}`,
      prepare: (backend) => () => backend.open({ key, nonce, ciphertext }),
    },
  ]
}

function hashes(label: string, bytes: number): Primitive[] {
  const data = systemRandom.bytes(bytes)
  return [
    {
      figure: `SHA-256 ${label}`,
      prepare: (backend) => () => backend.sha256(data),
      openssl: { args: ['-evp', 'sha256', '-bytes', String(bytes)] },
    },
    { figure: `SHA-256 ${label} in hex`, prepare: (backend) => () => backend.sha256Hex(data) },
    {
      figure: `HMAC-SHA-256 ${label}`,
      prepare: (backend) => () => backend.hmacSha256(key, data),
      openssl: { args: ['-hmac', 'sha256', '-bytes', String(bytes)] },
    },
  ]
}

const message = systemRandom.bytes(300)
const kemSeed = systemRandom.bytes(64)
const { publicKey: remoteKey } = noble.dhKeyPair(systemRandom.bytes(32))
/** More than the Node backend keeps imported; any 32 bytes are a key (RFC 7748 §5). */
const manyRemoteKeys = Array.from({ length: 1_024 }, () => systemRandom.bytes(32))

const primitives: readonly Primitive[] = [
  {
    figure: 'X25519',
    prepare(backend) {
      const own = backend.dhKeyPair(key)
      return () => backend.dh(own, remoteKey)
    },
    openssl: { args: ['ecdhx25519'] },
  },
  {
    // As in a handshake. Above, as in a conversation, it is the same one several times.
    figure: 'X25519, each time another remote key',
    prepare(backend) {
      const own = backend.dhKeyPair(key)
      let next = 0
      return () => backend.dh(own, manyRemoteKeys[next++ % manyRemoteKeys.length]!)
    },
  },
  { figure: 'X25519 key pair', prepare: (backend) => () => backend.dhKeyPair(key) },
  {
    figure: 'Ed25519 sign',
    prepare(backend) {
      const own = backend.signingKeyPair(key)
      return () => backend.sign(own, message)
    },
    openssl: { args: ['ed25519'], rate: 'first' },
  },
  {
    figure: 'Ed25519 verify',
    prepare(backend) {
      const own = backend.signingKeyPair(key)
      const signed = { publicKey: own.publicKey, message, signature: backend.sign(own, message) }
      return () => backend.verify(signed)
    },
    openssl: { args: ['ed25519'], rate: 'second' },
  },
  ...aead('300 B', 300),
  ...aead('4 KiB', 4_096),
  ...aead('64 KiB', 65_536),
  ...hashes('64 B', 64),
  ...hashes('4 KiB', 4_096),
  {
    figure: 'HKDF-SHA-256 to 96 B',
    prepare: (backend) => () => backend.hkdf({ secret: key, salt: key, info: nonce, length: 96 }),
  },
  { figure: 'ML-KEM-768 key pair', prepare: (backend) => () => backend.kemKeyPair(kemSeed) },
  {
    figure: 'ML-KEM-768 encapsulate',
    prepare(backend) {
      const { publicKey } = backend.kemKeyPair(kemSeed)
      return () => backend.kemEncapsulate(publicKey, systemRandom)
    },
    openssl: { args: ['-kem-algorithms'] },
  },
  {
    figure: 'ML-KEM-768 decapsulate',
    prepare(backend) {
      const own = backend.kemKeyPair(kemSeed)
      const { ciphertext } = noble.kemEncapsulate(own.publicKey, systemRandom)!
      return () => backend.kemDecapsulate(own, ciphertext)
    },
  },
]

/** Each primitive on Node's mix and on wasm against noble, and Node's against OpenSSL's own speed. */
export async function primitiveFigures(
  say: (line: string) => void = (line) => { process.stderr.write(`${line}\n`) },
): Promise<readonly BenchRow[]> {
  await crypto.warmUp()
  const rows: BenchRow[] = []
  for (const { figure, prepare, openssl } of primitives) {
    const measured = await interleaved({
      rounds,
      sides: {
        node: () => perSecond(prepare(crypto), roundMs),
        wasm: () => perSecond(prepare(wasm), roundMs),
        noble: () => perSecond(prepare(noble), roundMs),
      },
    })
    const row = { unit: '1/s', better: 'higher' } as const
    const reference = { against: 'noble', name: 'noble' } as const
    const node = compare(measured, 'node', reference)
    rows.push({ figure: `${figure}, Node`, ...row, floor: floorToNoble, ...node })
    rows.push({ figure: `${figure}, wasm`, ...row, ...compare(measured, 'wasm', reference) })
    if (openssl === undefined) continue
    const theirs = await opensslRate(openssl)
    if (theirs === undefined) {
      say(`openssl speed ${openssl.args.join(' ')}: not here, or it does not know it; left out`)
      continue
    }
    const value = median(measured.node)
    const itself = { against: 'openssl speed', againstValue: theirs, ratio: value / theirs }
    rows.push({ figure: `${figure}, Node`, ...row, value, ...itself })
  }
  return rows
}

/** Operations a second; `undefined` without the binary, or when its version lacks the algorithm. */
async function opensslRate(speed: NonNullable<Primitive['openssl']>): Promise<number | undefined> {
  const { args, rate = 'first' } = speed
  const options = ['speed', '-mr', '-elapsed', '-seconds', String(opensslSeconds)]
  let output: string
  try {
    output = (await promisify(execFile)('openssl', [...options, ...args])).stdout
  } catch {
    return undefined
  }
  // Of a cipher or hash: +F:index:name:bytes a second, and the size stands in +H. Of key agreement
  // and signatures: +F5:index:bits:rate:…, +F6:index:bits:name:signatures:verifications.
  const symmetric = /^\+F:\d+:[^:]*:([\d.]+)/m.exec(output)
  if (symmetric !== null) return Number(symmetric[1]) / Number(args[args.indexOf('-bytes') + 1])
  const agreement = /^\+F5:\d+:\d+:([\d.]+)/m.exec(output)
  if (agreement !== null) return Number(agreement[1])
  const signature = /^\+F6:\d+:\d+:[^:]*:([\d.]+):([\d.]+)/m.exec(output)
  return signature === null ? undefined : Number(signature[rate === 'first' ? 1 : 2])
}
