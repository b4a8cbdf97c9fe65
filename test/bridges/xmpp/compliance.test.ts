/**
 * docs/compliance.md says what test/helpers/compliance-table.ts says (`OPENIM_WRITE_REFERENCE=1` writes
 * it anew), each claim has its test, and nothing that service discovery offers goes without a claim.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import * as assert from 'uvu/assert'
import { claims, notBuilt } from '../../helpers/compliance-table.ts'
import type { Claim } from '../../helpers/compliance-table.ts'
import { suite } from '../../helpers/harness.ts'
import { XmppHouse } from '../../helpers/xmpp-house.ts'

const test = suite('bridges/xmpp/compliance')
const root = resolve(import.meta.dirname, '../../..')
const pagePath = join(root, 'docs/compliance.md')

function page(): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;')
  const row = ({ document, title, version = '', without, shownBy: [file] }: Claim): string =>
    `| ${document} | ${cell(title)} | ${version} | ${without === undefined ? 'full' : 'partial'} |`
    + ` ${cell(without ?? '')} | [${file.split('/').at(-1)!}](../test/${file}) |`
  return `# What of XMPP is built

Written from \`test/helpers/compliance-table.ts\`: a test fails when a row has no test that shows it, when
this page differs, or when service discovery offers a feature without a row. "Full" means a server's part
of it. How it is set up is in [xmpp.md](xmpp.md).

| Document | Title | Version | How much | Left out | Shown by |
|---|---|---|---|---|---|
${claims.map(row).join('\n')}

## Not built

| Document | What |
|---|---|
${notBuilt.map(([document, title]) => `| ${document} | ${cell(title)} |`).join('\n')}
`
}

test('docs/compliance.md says what the table says', () => {
  if (process.env['OPENIM_WRITE_REFERENCE'] === '1') writeFileSync(pagePath, page())
  assert.is(existsSync(pagePath) ? readFileSync(pagePath, 'utf8') : '', page())
})

test('every claim has the test that it names', () => {
  const missing = claims.filter(({ shownBy: [file, name] }) => {
    const path = join(root, 'test', file)
    const text = existsSync(path) ? readFileSync(path, 'utf8') : ''
    return !["'", '`'].some((quote) => text.includes(`(${quote}${name}${quote},`))
  })
  assert.equal(missing.map(({ document, shownBy }) => [document, ...shownBy]), [])
})

test('documents stand once, in order, and not among those that are not built', () => {
  const names = claims.map(({ document }) => document)
  assert.equal(names, [...new Set(names)].sort())
  const absent = notBuilt.flatMap(([document]) => document.split(', '))
  assert.equal(absent.filter((document) => names.includes(document)), [])
})

test('every feature that is offered has a row, and every feature of a row is offered', async () => {
  const house = await XmppHouse.open()
  try {
    const { iq } = house.bridge.host.context
    const offered = new Set([...iq.features('server'), ...iq.features('account')])
    const claimed = claims.flatMap(({ features = [] }) => features)
    const matches = (claim: string, feature: string): boolean =>
      claim.endsWith('*') ? feature.startsWith(claim.slice(0, -1)) : claim === feature
    const unclaimed = [...offered].filter((feature) => !claimed.some((claim) => matches(claim, feature)))
    assert.equal(unclaimed, [], 'offered without a row')
    const idle = claimed.filter((claim) => ![...offered].some((feature) => matches(claim, feature)))
    assert.equal(idle, [], 'claimed and not offered')
  } finally {
    await house.close()
  }
})

test.run()
