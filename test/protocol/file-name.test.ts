/** Names of received files: whatever was sent, one plain name in one folder. */
import * as assert from 'uvu/assert'
import { utf8 } from '../../crypto/bytes.ts'
import { safeFileName } from '../../protocol/file-name.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('protocol/file name')

test('keeps names that people give', () => {
  for (const name of ['report.pdf', 'Ferien am Meer.jpg', 'отчёт.docx', '報告書.txt', 'a.tar.gz', 'x']) {
    assert.is(safeFileName(name), name)
  }
})

test('takes away paths, leading dots, and what hides or turns text', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['../../etc/passwd', 'passwd'],
    ['/etc/ssh/authorized_keys', 'authorized_keys'],
    ['C:\\Windows\\system32\\cmd.exe', 'cmd.exe'],
    ['.bashrc', 'bashrc'],
    ['...', 'file'],
    ['', 'file'],
    ['a/', 'file'],
    ['photo\u202egpj.exe', 'photogpj.exe'],
    ['a\u0000b\u001b[31mc', 'ab[31mc'],
    ['zero\u200bwidth\u2060.txt', 'zerowidth.txt'],
    ['two\nlines.txt', 'two lines.txt'],
    [' trailing. ', 'trailing'],
    ['nul.txt', '_nul.txt'],
    ['a<b>:"|?*c', 'abc'],
  ]
  for (const [raw, safe] of cases) assert.is(safeFileName(raw), safe, JSON.stringify(raw))
})

test('cuts in front of the extension, never within a character', () => {
  const long = safeFileName(`${'ä'.repeat(300)}.jpeg`)
  assert.ok(utf8(long).length <= 200)
  assert.match(long, /^ä+\.jpeg$/)
  assert.ok(utf8(safeFileName('x'.repeat(5_000))).length <= 200)
})

test('what it gives it leaves alone', () => {
  for (const raw of ['../.a\u202e.b ', 'con', `${'é'.repeat(200)}.txt`, '. . .', 'a\\b/c']) {
    assert.is(safeFileName(safeFileName(raw)), safeFileName(raw))
  }
})

test.run()
