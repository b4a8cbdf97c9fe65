/**
 * Uploads as clients know them: slots over XMPP, files over HTTPS, on a house of its own with a
 * directory and quotas small enough to be reached.
 */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { memoryKv } from '../../../../protocol/memory-kv.ts'
import { suite } from '../../../helpers/harness.ts'
import { xml } from '../../../helpers/xmpp-client.ts'
import type { LoggedIn, LtxElement } from '../../../helpers/xmpp-client.ts'
import { XmppHouse } from '../../../helpers/xmpp-house.ts'

const test = suite('bridges/xmpp/upload', { timeoutMs: 60_000 })
const uploadNs = 'urn:xmpp:http:upload:0'
const limits = {
  fileBytesMax: 100_000, accountBytesMax: 250_000, dayBytesMax: 200_000, totalBytesMax: 1_000_000,
  keptDays: 1,
}

let directory: string
let house: XmppHouse
const kv = memoryKv()

test.before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'openim-uploads-'))
  house = await open()
})

test.after(async () => {
  await house.close()
  await rm(directory, { recursive: true })
})

function open(): Promise<XmppHouse> {
  return XmppHouse.open({ kv, directory, bridge: { uploads: limits } })
}

interface Slot {
  readonly put: string
  readonly get: string
  readonly token: string
}

async function ask(from: LoggedIn, attrs: object): Promise<LtxElement> {
  return await from.client.iqCaller.request(xml('iq', { type: 'get', to: 'upload.a.test' },
    xml('request', { xmlns: uploadNs, ...attrs })))
}

async function slot(from: LoggedIn, filename: string, size: number, type = 'image/png'): Promise<Slot> {
  const answer = (await ask(from, { filename, size: String(size), 'content-type': type })).getChild('slot')!
  const put = answer.getChild('put')!
  return {
    put: put.attrs['url']!, get: answer.getChild('get')!.attrs['url']!, token: put.getChildText('header')!,
  }
}

async function refused(from: LoggedIn, attrs: object): Promise<readonly [string, string | undefined]> {
  try {
    await ask(from, attrs)
  } catch (error) {
    const { condition, application } = error as { condition: string, application?: LtxElement }
    return [condition, application?.name]
  }
  throw new Error('was not refused')
}

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

/** At this machine, by the name that the certificate has. */
function http(
  method: string, url: string, headers: Record<string, string | number> = {}, body?: Buffer,
): Promise<Answer> {
  const { port, pathname, hostname } = new URL(url)
  return new Promise((resolve, reject) => {
    const sent = request({
      method, host: '127.0.0.1', port, path: pathname, headers, servername: hostname, agent: false,
    }, (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('end', () => resolve({
        status: response.statusCode!, headers: response.headers, body: Buffer.concat(parts),
      }))
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

function put({ put: url, token }: Slot, body: Buffer): Promise<Answer> {
  return http('PUT', url, { authorization: token, 'content-length': body.length }, body)
}

test('is found by service discovery, with the largest size', async () => {
  const anna = await house.login('anna')
  const query = xml('query', { xmlns: 'http://jabber.org/protocol/disco#info' })
  const info = await anna.client.iqCaller.request(xml('iq', { type: 'get', to: 'upload.a.test' }, query))
  const fields = info.getChild('query')!.getChild('x')!.getChildren('field')
  assert.is(fields.find(({ attrs }) => attrs['var'] === 'max-file-size')!.getChildText('value'), '100000')
})

test('a file goes up, and comes down whole or in part', async () => {
  const anna = await house.login('anna')
  const content = Buffer.from('picture '.repeat(1_000))
  const place = await slot(anna, '../../holiday (1).png', content.length)
  assert.match(place.get, /^https:\/\/a\.test:\d+\/upload\/[0-9a-f]{32}\/holiday%20\(1\)\.png$/)
  assert.is((await put(place, content)).status, 201)
  const whole = await http('GET', place.get)
  assert.equal([whole.status, whole.body.equals(content)], [200, true])
  const { headers } = whole
  assert.equal([headers['content-type'], headers['content-disposition']],
    ['image/png', `inline; filename*=UTF-8''holiday%20%281%29.png`])
  assert.match(String(headers['content-security-policy']), /default-src 'none'.*sandbox/)
  assert.is(headers['x-content-type-options'], 'nosniff')
  const part = await http('GET', place.get, { range: 'bytes=10-19' })
  assert.equal([part.status, part.body.toString(), part.headers['content-range']],
    [206, content.subarray(10, 20).toString(), `bytes 10-19/${content.length}`])
  assert.is((await http('GET', place.get, { range: 'bytes=-5' })).body.toString(), 'ture ')
  assert.is((await http('GET', place.get, { range: 'bytes=9000-' })).status, 416)
  const head = await http('HEAD', place.get)
  const length = String(content.length)
  assert.equal([head.status, head.headers['content-length'], head.body.length], [200, length, 0])
  assert.is((await http('GET', place.get, { 'if-none-match': String(head.headers['etag']) })).status, 304)
})

test('what a browser could run is a download', async () => {
  const ben = await house.login('ben')
  for (const type of ['text/html', 'image/svg+xml', 'application/javascript', 'x/y"; attack=1']) {
    const place = await slot(ben, 'page.html', 3, type)
    assert.is((await put(place, Buffer.from('<b>'))).status, 201)
    const { headers } = await http('GET', place.get)
    assert.is(headers['content-type'], 'application/octet-stream')
    assert.match(String(headers['content-disposition']), /^attachment;/)
  }
})

test('a slot takes exactly its file, once, from whoever has its token', async () => {
  const cleo = await house.login('cleo')
  const place = await slot(cleo, 'a.bin', 10)
  const ten = Buffer.from('0123456789')
  assert.is((await put({ ...place, token: `Bearer ${'0'.repeat(64)}` }, ten)).status, 403)
  assert.is((await http('PUT', place.put, { 'content-length': 10 }, ten)).status, 403)
  assert.is((await put(place, Buffer.from('0123456789a'))).status, 413)
  assert.is((await http('GET', place.get)).status, 404)
  assert.is((await put(place, ten)).status, 201)
  assert.is((await put(place, ten)).status, 403)
  assert.is((await http('DELETE', place.get)).status, 405)
  assert.is((await http('GET', place.get.replace(/[0-9a-f]{32}/, 'f'.repeat(32)))).status, 404)
  assert.is((await http('GET', place.get.replace(/upload\/.*/, 'upload/../../etc/passwd'))).status, 404)
})

test('an upload that breaks off leaves nothing, and may be done again', async () => {
  const dora = await house.login('dora')
  const place = await slot(dora, 'a.bin', 50_000)
  const { port } = new URL(place.put)
  await new Promise<void>((resolve) => {
    const sent = request({
      method: 'PUT', host: '127.0.0.1', port, path: new URL(place.put).pathname, servername: 'a.test',
      agent: false,
      headers: { authorization: place.token, 'content-length': 50_000 },
    })
    sent.on('error', () => resolve())
    sent.write(Buffer.alloc(20_000), () => sent.destroy(new Error('cut')))
  })
  const content = Buffer.alloc(50_000, 7)
  // The server may not have seen the cut yet; until then the slot is being used.
  let answer = await put(place, content)
  while (answer.status === 403) answer = await put(place, content)
  assert.is(answer.status, 201)
  const left = (await readdir(join(directory, 'uploads'))).filter((name) => name.endsWith('.part'))
  assert.equal(left, [])
})

test('too large, too much, too many: refused in the words of XEP-0363', async () => {
  const emil = await house.login('emil')
  assert.equal(await refused(emil, { filename: 'a', size: '100001' }), ['not-acceptable', 'file-too-large'])
  assert.equal(await refused(emil, { filename: 'a', size: '-1' }), ['bad-request', undefined])
  assert.equal(await refused(emil, { filename: '', size: '1' }), ['bad-request', undefined])
  assert.is((await put(await slot(emil, 'one', 100_000), Buffer.alloc(100_000))).status, 201)
  await slot(emil, 'two', 90_000)
  assert.equal(await refused(emil, { filename: 'three', size: '20000' }), ['resource-constraint', 'retry'])
  const fred = await house.login('fred')
  for (let i = 0; i < 20; i++) await slot(fred, `${i}`, 1)
  assert.equal(await refused(fred, { filename: 'more', size: '1' }), ['resource-constraint', 'retry'])
})

test('files are there after a restart, and leftovers are not', async () => {
  const gina = await house.login('gina')
  const place = await slot(gina, 'kept.txt', 4)
  assert.is((await put(place, Buffer.from('kept'))).status, 201)
  await house.close()
  await writeFile(join(directory, 'uploads', `${'a'.repeat(32)}.part`), 'half')
  house = await open()
  const port = house.bridge.addresses()['xmpp-web']!.split(':').at(-1)!
  const answer = await http('GET', place.get.replace(/:\d+\//, `:${port}/`))
  assert.is(answer.body.toString(), 'kept')
  assert.not.ok((await readdir(join(directory, 'uploads'))).some((name) => name.endsWith('.part')))
})

test.run()
