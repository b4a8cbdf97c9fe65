/** Certificate files of `[xmpp]`: what is refused at the start, and what a reload does with it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { checkOwnCertificate } from '../../../../bridges/xmpp/certificates/own-certificate.ts'
import { TlsFiles } from '../../../../node/connectors/tls-files.ts'
import type { Log } from '../../../../node/ports.ts'
import { silentLog } from '../../../../node/ports.ts'
import { systemClock } from '../../../../protocol/system-clock.ts'
import { suite } from '../../../helpers/harness.ts'
import { seededRandom } from '../../../helpers/seeded-random.ts'
import { VirtualClock } from '../../../helpers/virtual-clock.ts'
import { TestCA } from '../../../helpers/xmpp-ca.ts'
import type { CertificateOptions, Issued } from '../../../helpers/xmpp-ca.ts'

const test = suite('bridges/xmpp/certificates/own-certificate')
const ca = TestCA.create()
const domain = 'a.test'

let folder = ''
test.before.each(async () => { folder = await mkdtemp(join(tmpdir(), 'openim-own-certificate-')) })
test.after.each(async () => { await rm(folder, { recursive: true, force: true }) })

function refusal(options: CertificateOptions): string | undefined {
  try {
    checkOwnCertificate(ca.issue(options).fullChain, { domain, path: 'FILE', nowMs: systemClock.now() })
    return undefined
  } catch (error) {
    const { code, message } = error as { code: string, message: string }
    return `${code} ${message}`
  }
}

const wanted = 'it must be one of a server for a.test, in date'

test('takes a certificate for the domain, by any of the three kinds of name', () => {
  assert.is(refusal({ dns: ['a.test'] }), undefined)
  assert.is(refusal({ srvNames: ['_xmpp-server.a.test'] }), undefined)
  assert.is(refusal({ xmppAddrs: ['a.test'] }), undefined)
})

test('says for whom it is when it is for another name', () => {
  assert.is(
    refusal({ dns: ['node.a.test'] }),
    `CONFIG_TLS xmpp.cert: the certificate in FILE is not for this domain but for node.a.test; ${wanted}`,
  )
})

test('says when the purpose or the time is wrong', () => {
  const start = 'CONFIG_TLS xmpp.cert: the certificate in FILE'
  assert.is(
    refusal({ dns: ['a.test'], purposes: ['clientAuth'] }),
    `${start} is not for servers (serverAuth); ${wanted}`,
  )
  assert.is(refusal({ dns: ['a.test'], fromDays: -9, toDays: -1 }), `${start} has expired; ${wanted}`)
  assert.is(refusal({ dns: ['a.test'], fromDays: 1, toDays: 9 }), `${start} is not valid yet; ${wanted}`)
})

async function write({ fullChain, key }: Issued): Promise<{ cert: string, key: string }> {
  const paths = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }
  await Promise.all([writeFile(paths.cert, fullChain), writeFile(paths.key, key)])
  return paths
}

test('a reload keeps the old pair while the new one is not for the domain, and says why', async () => {
  const told: string[] = []
  const note = (fields: { err?: Error }, text: string): void => {
    told.push(fields.err === undefined ? text : `${text}: ${fields.err.message}`)
  }
  const log = { ...silentLog, info: note, warn: note } as unknown as Log
  const clock = new VirtualClock(systemClock.now())
  const paths = await write(ca.issue({ dns: ['a.test'] }))
  const check = (pem: string): void =>
    checkOwnCertificate(pem, { domain, path: paths.cert, nowMs: clock.now() })
  const files = await TlsFiles.open(
    { clock, random: seededRandom(1), log }, { ...paths, table: 'xmpp', check },
  )
  const first = files.context
  await write(ca.issue({ dns: ['b.test'] }))
  await files.reload()
  assert.is(files.context, first)
  assert.match(told.join(), 'the old one stays')
  assert.match(told.join(), 'is not for this domain but for b.test')
  await write(ca.issue({ dns: ['a.test'] }))
  await files.reload()
  assert.is.not(files.context, first)
  assert.is(told.at(-1), 'a new certificate is in use')
})

test('errors name the setting', async () => {
  const parts = { clock: new VirtualClock(), random: seededRandom(1), log: silentLog }
  const paths = await write(ca.issue({ dns: ['a.test'] }))
  const missing = { ...paths, key: join(folder, 'none'), table: 'xmpp' }
  const refused = async (given: typeof missing): Promise<string> =>
    await TlsFiles.open(parts, given).then(() => 'taken', (error: Error) => error.message)
  assert.is(await refused(missing), `xmpp.key: cannot read ${join(folder, 'none')} (ENOENT)`)
  const stranger = join(folder, 'other.key')
  await writeFile(stranger, ca.issue({ dns: ['a.test'] }).key)
  assert.match(await refused({ ...missing, key: stranger }), /^xmpp: .* are not a certificate and its key/)
})

test.run()
