/**
 * The Client SDK in a real browser, as docs/examples/page has it: no bundler, a strict
 * Content-Security-Policy, IndexedDB for a store, WebSocket to a real node. The page becomes a device
 * of that node's account by the real linking and talks to the owner of another node.
 */
import * as assert from 'uvu/assert'
import type { Browser, Page } from 'playwright-core'
import { servePage } from '../../docs/examples/page/serve.ts'
import type { PageServer } from '../../docs/examples/page/serve.ts'
import { chromiumPath, launchChromium, openPage } from '../helpers/chromium.ts'
import { CliNode, eventually } from '../helpers/cli-node.ts'
import { freePort } from '../helpers/free-port.ts'
import { suite } from '../helpers/harness.ts'
import { withLinkScreen } from '../helpers/linking-node.ts'

const test = suite('interop/page', { timeoutMs: 120_000 })
const inChromium = test.skipUnless(chromiumPath !== undefined, 'chromium is not installed')
let browser: Browser
let nodes: CliNode[] = []
let servers: PageServer[] = []

test.before(async () => { if (chromiumPath !== undefined) browser = await launchChromium() })
test.after(async () => { if (chromiumPath !== undefined) await browser.close() })
test.after.each(async () => {
  for (const context of browser.contexts()) await context.close()
  await Promise.all([...nodes.map((node) => node.remove()), ...servers.map((server) => server.close())])
  nodes = []
  servers = []
})

async function serve(options: Parameters<typeof servePage>[0] = {}): Promise<PageServer> {
  const server = await servePage(options)
  servers.push(server)
  return server
}

async function says(page: Page, text: string): Promise<void> {
  await page.waitForFunction((wanted) => document.getElementById('state')?.textContent === wanted, text)
}

async function texts(page: Page): Promise<string[]> {
  return await page.locator('#messages li').allTextContents()
}

async function write(page: Page, text: string): Promise<void> {
  await page.fill('[name=text]', text)
  await page.click('#send button')
}

for (const [wasm, backend] of [[true, 'wasm'], [false, 'noble']] as const) {
  inChromium(`loads under a strict policy and computes with ${backend}`, async () => {
    const { page, problems } = await openPage(browser, (await serve({ wasm })).url)
    await says(page, 'not linked yet')
    const sdk = '/protocol/client/index.ts'
    assert.is(await page.evaluate(async (url) => (await import(url)).crypto.name as string, sdk), backend)
    // The fallback is tried, not asked about: the browser notes what it refused.
    assert.equal(problems.filter((text) => !/WebAssembly|wasm/i.test(text)), [])
    const evals = page.evaluate(() => { document.body.innerHTML = '<b>markup</b>' })
    assert.match(await evals.then(() => 'taken', String), /TrustedHTML/)
  })
}

inChromium('IndexedDB passes the suite of the key-value port', async () => {
  const { url } = await serve({
    folders: ['/test/', '/node_modules/'],
    imports: {
      '/test/helpers/harness.ts': '/test/interop/page/harness.ts',
      'uvu/assert': '/node_modules/uvu/assert/index.mjs',
      'uvu/diff': '/node_modules/uvu/diff/index.mjs',
      'dequal': '/node_modules/dequal/dist/index.mjs',
      'kleur': '/node_modules/kleur/index.mjs',
      'diff': '/node_modules/diff/lib/index.mjs',
    },
  })
  const { page } = await openPage(browser, url)
  const kv = '/test/interop/page/kv.ts'
  const { names, failures } = await page.evaluate(async (at) => await (await import(at)).compliance(), kv)
  assert.equal(failures, [])
  assert.ok(names.length >= 15, `${names.length} tests`)
  const codes = await page.evaluate(async (at) => await (await import(at)).codes(), kv)
  assert.equal(codes, { second: 'STORE_LOCKED', closed: 'STORE_CLOSED' })
  const speed = await page.evaluate(async (at) => await (await import(at)).speed(), kv)
  process.stdout.write(`IndexedDB, ms: ${JSON.stringify(speed)}\n`)
})

inChromium('a page is linked, talks, and comes back after a reload and a restart of its node', async () => {
  const ports = { ws: await freePort(), p2p: await freePort() }
  const [alice, bob] = await Promise.all([CliNode.init('alice'), CliNode.init('bob')])
  nodes = [alice, bob]
  const listenWs = `127.0.0.1:${ports.ws}`
  const { page, problems } = await openPage(browser, (await serve()).url)

  // Linked by the code, after the digits were compared.
  await withLinkScreen(alice.dataDir, { listenWs }, async (screen) => {
    await page.fill('[name=code]', screen.uri)
    await page.fill('[name=address]', `ws://${listenWs}`)
    await page.click('#link button')
    const digits = await screen.digits()
    await page.waitForSelector('#compare:not([hidden])')
    assert.is(await page.textContent('#digits'), digits)
    await page.click('#same')
    assert.is(await screen.answer(true), 'linked')
    await says(page, 'connected')
  })
  // The node is gone, and says so.
  await says(page, 'not connected')

  // The node again, as people start it; a friend on another node.
  const start = (): Promise<unknown> => alice.start([], ['--ws-listen', listenWs])
  await start()
  await says(page, 'connected')
  await bob.start([alice.ready.p2p[0]!])
  const invite = await alice.run(['invite'])
  const added = await bob.run(['add', invite.json['uri'] as string, '--name', 'alice'])
  assert.is(added.code, 0, added.stderr)
  await page.waitForSelector('#send option[value=bob]', { state: 'attached', timeout: 60_000 })

  // Both ways, over two nodes.
  const sent = await bob.run(['send', 'alice', 'hello page', '--wait', 'delivered', '--timeout', '60s'])
  assert.is(sent.code, 0, sent.stderr)
  await page.waitForFunction(() => document.getElementById('messages')!.textContent.includes('hello page'))
  await write(page, 'hello bob')
  await inboxHas(bob, 'hello bob')
  await page.waitForFunction(() => document.getElementById('messages')!.textContent.includes('(delivered)'))

  // While the node is off, and across its restart.
  await alice.stop()
  await says(page, 'not connected')
  await write(page, 'written while the node was off')
  await start()
  await inboxHas(bob, 'written while the node was off')

  // A reload: same database, same device, nothing lost and nothing doubled.
  await page.reload()
  await says(page, 'connected')
  await write(page, 'after the reload')
  await inboxHas(bob, 'after the reload')
  const answer = await bob.run(['send', 'alice', 'still there?', '--wait', 'delivered', '--timeout', '60s'])
  assert.is(answer.code, 0, answer.stderr)
  await page.waitForFunction(() => document.getElementById('messages')!.textContent.includes('still there?'))
  const shown = (await texts(page)).map((line) => line.replace(/ \(.*\)$/, ''))
  assert.equal(shown, [
    'bob: hello page', 'to bob: hello bob', 'to bob: written while the node was off',
    'to bob: after the reload', 'bob: still there?',
  ])
  assert.equal(problems.filter((text) => !text.includes('WebSocket')), [])
})

/** Exactly once. */
async function inboxHas(node: CliNode, text: string): Promise<void> {
  const found = await eventually(async () => {
    const control = await node.control()
    try {
      const entries = await control.call('history', { direction: 'in', limit: 1_000 })
      const matching = entries.filter((entry) => entry.text === text)
      return matching.length > 0 ? matching : undefined
    } finally {
      control.close()
    }
  }, { withinMs: 60_000, what: `${node.name} has "${text}"` })
  assert.is(found.length, 1)
}

test.run()
