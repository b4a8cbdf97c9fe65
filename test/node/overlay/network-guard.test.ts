/** What the guard takes for a failing connection, and what still ends the process. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as assert from 'uvu/assert'
import { suite } from '../../helpers/harness.ts'
import { StreamStateError } from '@libp2p/interface'
import { isConnectionError } from '../../../node/overlay/network-guard.ts'

const test = suite('node/overlay/network-guard')

const guardPath = new URL('../../../node/overlay/network-guard.ts', import.meta.url).href

/** Runs a module in a process of its own. */
async function run(source: string): Promise<{ code: number | null, out: string, err: string }> {
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', source], {
    cwd: new URL('../../..', import.meta.url).pathname,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => { out += chunk.toString() })
  child.stderr.on('data', (chunk: Buffer) => { err += chunk.toString() })
  const [code] = await once(child, 'close') as [number | null]
  return { code, out, err }
}

const install = `
  import { installNetworkGuard } from '${guardPath}'
  const log = { debug() {}, info() {}, error() {}, warn: (fields) => console.log(JSON.stringify(fields)) }
  const guard = installNetworkGuard(log)
`

test('keeps the process alive after a stream of libp2p threw at process level', async () => {
  const { code, out } = await run(`${install}
    import { pushOntoClosedStream } from '${new URL('./closed-stream.ts', import.meta.url).href}'
    const end = await pushOntoClosedStream()
    const stack = 'Error: read ECONNRESET\\n    at TCP.onStreamRead (node:internal/stream:216:20)'
    Promise.reject(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', stack }))
    setTimeout(() => {
      console.log('alive', guard.count)
      end()
    }, 100)
  `)
  assert.is(code, 0)
  assert.match(out, /StreamStateError/)
  assert.match(out, /alive 2/)
})

test('lets any other error end the process', async () => {
  for (const source of [
    'setTimeout(() => { throw new TypeError("a bug of ours") }, 5)',
    'Promise.reject(new Error("nobody waits"))',
    `class StreamStateError extends Error { name = 'StreamStateError' }
     setTimeout(function here() { throw new StreamStateError('not from libp2p') }, 5)`,
  ]) {
    const { code, out, err } = await run(`${install}\n${source}\nsetTimeout(() => console.log('alive'), 200)`)
    assert.is.not(code, 0, source)
    assert.not.match(out, /alive/)
    assert.match(err, /a bug of ours|nobody waits|not from libp2p/)
  }
})

test('tells connection errors by name and origin', () => {
  const real = new StreamStateError('x')
  real.stack = 'StreamStateError: x\n    at send (file:///app/node_modules/@libp2p/utils/dist/stream.js:1:9)'
  assert.ok(isConnectionError(real))
  assert.not.ok(isConnectionError(new RangeError('x')))
  assert.not.ok(isConnectionError('a string'))
  assert.not.ok(isConnectionError(Object.assign(new Error('open'), { code: 'ENOENT' })))
})

test.run()
