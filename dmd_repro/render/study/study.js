(function () {
  'use strict';
  function key(row, i) {
    var cell = row.children[i];
    return cell.dataset.v !== undefined ? cell.dataset.v : cell.textContent.trim().replace('−', '-');
  }
  function number(text) { return /^[<>+-]?\d/.test(text) ? parseFloat(text.replace(/^[<>]/, '')) : NaN; }
  function compare(a, b, sign) {
    var x = number(a), y = number(b);
    if (isNaN(x) && isNaN(y)) { return sign * a.localeCompare(b, 'en', { numeric: true }); }
    if (isNaN(x) || isNaN(y)) { return isNaN(x) ? 1 : -1; }
    return sign * (x - y);
  }
  function sort(head) {
    var table = head.closest('table'), body = table.tBodies[0];
    var i = [].indexOf.call(head.parentNode.children, head);
    var up = head.getAttribute('aria-sort') !== 'ascending';
    [].forEach.call(head.parentNode.children, function (other) { other.setAttribute('aria-sort', 'none'); });
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    [].slice.call(body.rows).sort(function (a, b) {
      return compare(key(a, i), key(b, i), up ? 1 : -1);
    }).forEach(function (row) { body.appendChild(row); });
  }
  [].forEach.call(document.querySelectorAll('table.sort thead button'), function (button) {
    var head = button.closest('th');
    button.disabled = false;
    button.addEventListener('click', function () { sort(head); });
  });
  function unfold() {
    var at = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!at) { return; }
    for (var up = at; up; up = up.parentElement) { if (up.tagName === 'DETAILS') { up.open = true; } }
    (at.closest('details') || at).scrollIntoView();
  }
  window.addEventListener('hashchange', unfold);
  unfold();
  var shut = [];
  window.addEventListener('beforeprint', function () {
    shut = [].slice.call(document.querySelectorAll('details:not([open])'));
    shut.forEach(function (one) { one.open = true; });
  });
  window.addEventListener('afterprint', function () { shut.forEach(function (one) { one.open = false; }); });
}());
