/**
 * What the tidy rules (tidy-shape.ts, tidy-form.ts) are made of: findings, and ways to walk a
 * source tree.
 */
import { lineAt } from './source-tree.ts'
import type { Import, SourceFile, SourceTree } from './source-tree.ts'

export interface Finding {
  readonly file: string
  readonly line: number
  readonly problem: string
  readonly cure: string
}

export interface Rule {
  /** Continues the sentence "the tree …". */
  readonly name: string
  check(tree: SourceTree): Finding[]
}

/** Folders whose code people run. */
export const product = ['crypto', 'protocol', 'node', 'bridges', 'cli']

export function inFolder(path: string, folders: readonly string[]): boolean {
  return folders.some((folder) => path === folder || path.startsWith(`${folder}/`))
}

export interface Remark {
  readonly problem: string
  readonly cure: string
}

export function eachSource(tree: SourceTree, check: (file: SourceFile) => Finding[]): Finding[] {
  return [...tree.sources.values()].flatMap(check)
}

export function eachDocument(tree: SourceTree, check: (path: string, text: string) => Finding[]): Finding[] {
  return [...tree.documents].flatMap(([path, text]) => check(path, text))
}

export type ImportCheck = (file: SourceFile, one: Import) => Remark | undefined

export function eachImport(tree: SourceTree, check: ImportCheck): Finding[] {
  return eachSource(tree, (file) => file.imports.flatMap((one) => {
    const remark = check(file, one)
    return remark === undefined ? [] : [{ file: file.path, line: one.line, ...remark }]
  }))
}

/** Matches in the code, not in comments or strings. */
export function matches(file: SourceFile, pattern: RegExp, remark: (found: string) => Remark): Finding[] {
  return [...file.code.matchAll(pattern)].map((match) => ({
    file: file.path, line: lineAt(file.code, match.index + 1), ...remark(match[0]),
  }))
}

export function textMatches(file: string, text: string, pattern: RegExp, cure: string): Finding[] {
  return [...text.matchAll(pattern)].map((match) => ({
    file, line: lineAt(text, match.index + 1), problem: `holds ${match[0]}`, cure,
  }))
}

export function formatFinding({ file, line, problem, cure }: Finding): string {
  return `${file}:${line} ${problem}; ${cure}`
}
